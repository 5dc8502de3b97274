"""What every site must do, as checks that run against a real one: `run(site) -> Report`, or `for check in CHECKS: check(site)`.

A site's author passes a site that can run Python and waits for the answer; each check uses jobs of its own, so that many run at once.
What a site cannot promise it says itself, in an attribute `without`: a set of the words in `NEEDS`. Those checks are left out, and the
report says which and why. A site that is slow to ask has `poll_s` (seconds between two looks) and `patience_s`.
"""

from __future__ import annotations

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import IO
from uuid import uuid4

from lilong.floors.compute.contract import (
    PYTHON,
    AlreadySubmitted,
    Ending,
    LogPart,
    Phase,
    Sight,
    Site,
    Task,
)
from lilong.ground.errors import NotFound
from lilong.ground.sandbox import OutputRefused

PATIENCE_S = 60.0
POLL_S = 0.02
NEEDS: Mapping[str, str] = {
    "services": "no service has an address there",
    "stop": "its jobs go on when the house closes",
    "gangs": "a job has one task there",
    "secrets": "it hands over no secrets",
    "usage": "it cannot tell what is used",
    "drain": "its nodes cannot be closed from here",
    "walls": "its sandbox keeps no program from writing where its user may",
    "memory": "it holds no memory limit",
    "processes": "it holds no limit on processes",
}
_ORDER = {Phase.NEVER: 0, Phase.PENDING: 1, Phase.RUNNING: 2, Phase.FINISHED: 3, Phase.LOST: 3}


@dataclass(frozen=True, slots=True)
class Report:
    """By the checks' names: those that hold, those left out with the reason, those that failed with what went wrong."""

    held: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)


def run(site: Site, again: Site | None = None, at_once: int = 8) -> Report:
    """All checks, `at_once` at a time; the one that closes the site comes last, alone.

    `again`: the same site opened a second time, as a house does after a crash.
    """
    without: frozenset[str] = getattr(site, "without", frozenset())
    chosen: dict[str, Callable[[Site], None]] = {}
    left_out: dict[str, str] = {}
    for check in CHECKS:
        missing = [word for word in _needs(check) if word in without]
        if missing:
            left_out[_name(check)] = NEEDS[missing[0]]
        else:
            chosen[_name(check)] = check
    if again is None:
        left_out[_ANEW] = "it was not opened a second time"
    else:
        chosen[_ANEW] = lambda site: check_a_site_opened_anew_finds_what_was_begun(site, again)
    problems: dict[str, str] = {}

    def one(name: str) -> None:
        try:
            chosen[name](site)
        except Exception:  # whatever it was, it is what the report is about
            problems[name] = traceback.format_exc()

    last = _name(check_a_closing_house_stops_its_jobs)
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(one, [name for name in chosen if name != last]))
    if last in chosen:
        one(last)
    return Report(tuple(name for name in chosen if name not in problems), left_out, problems)


_ANEW = "a_site_opened_anew_finds_what_was_begun"


def needs(*words: str) -> Callable[[Callable[[Site], None]], Callable[[Site], None]]:
    """What a site must be able to do for a check to make sense."""

    def marked(check: Callable[[Site], None]) -> Callable[[Site], None]:
        check.needs = words  # type: ignore[attr-defined]
        return check

    return marked


def _needs(check: Callable[[Site], None]) -> tuple[str, ...]:
    words: tuple[str, ...] = getattr(check, "needs", ())
    return words


def _name(check: Callable[[Site], None]) -> str:
    return check.__name__.removeprefix("check_")


def program(code: str, **asks: object) -> Task:
    return replace(Task(argv=(PYTHON, "-c", code), memory_mib=256, timeout_s=60), **asks)  # type: ignore[arg-type]


def fresh() -> str:
    return f"job-{uuid4().hex[:20]}"


def until(site: Site, token: str, good: Callable[[Sight], bool], patience: float | None = None) -> Sight:
    """Look at an attempt until `good`; fails when that takes too long."""
    end = time.monotonic() + (patience or float(getattr(site, "patience_s", PATIENCE_S)))
    while True:
        sight = site.find(token)
        if good(sight):
            return sight
        if time.monotonic() > end:
            raise AssertionError(f"{token} is still {sight}; its log: {site.logs(token, 0, 4000).text}")
        time.sleep(getattr(site, "poll_s", POLL_S))


def finished(sight: Sight) -> bool:
    return sight.phase in (Phase.FINISHED, Phase.LOST)


def said(site: Site, token: str, text: str) -> Callable[[Sight], bool]:
    return lambda _: text in site.logs(token, 0, 1 << 16).text


def _keep(file: IO[bytes]) -> tuple[str, int]:
    data = file.read()
    return "sha256:" + hashlib.sha256(data).hexdigest(), len(data)


def check_an_unknown_attempt_was_never_started(site: Site) -> None:
    assert site.find(f"{fresh()}.1").phase is Phase.NEVER


def check_a_job_runs_and_tells_how_it_ended(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("print('hello'); raise SystemExit(3)"))
    sight = until(site, token, finished)
    assert sight.phase is Phase.FINISHED
    assert sight.ending is Ending.EXITED
    assert sight.exit is not None and sight.exit.code == 3
    assert sight.exit.wall_s > 0 and sight.exit.cpu_s > 0 and sight.exit.max_rss_mib > 0
    assert sight.sandbox
    assert "hello" in site.logs(token, 0, 1 << 16).text


def check_an_attempt_is_never_started_twice(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import os; open(os.environ['LILONG_STATE'] + '/mark', 'a').write('x'); print('ran')"))
    for _ in range(2):
        try:
            site.submit(token, program("print('again')"))
        except AlreadySubmitted:
            pass
        else:
            raise AssertionError("a second submit was taken")
        until(site, token, finished)
    assert site.logs(token, 0, 1 << 16).text.count("ran") == 1


def check_a_signal_is_told_as_a_signal(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import os; os.kill(os.getpid(), 11)"))
    sight = until(site, token, finished)
    assert sight.exit is not None
    assert (sight.exit.code, sight.exit.signal) == (None, 11)


def check_a_program_that_does_not_exist_ends_with_an_error(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, Task(argv=("/usr/bin/there-is-no-such-program",), memory_mib=64))
    sight = until(site, token, finished)
    assert sight.ending is Ending.UNABLE or (sight.exit is not None and sight.exit.code not in (0, None))


def check_the_parameters_reach_the_job_and_its_results_come_back(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "from lilong.ground.work import Workspace; w = Workspace.here(); w.progress(1, 2, 'half', loss=0.5);"
        "(w.out / 'deep').mkdir(); (w.out / 'deep' / 'a').write_text('x'); w.finish({'twice': 2 * w.spec['n']})"
    )
    site.submit(token, program(code, spec={"n": 21}))
    sight = until(site, token, finished)
    assert sight.exit is not None and sight.exit.code == 0, site.logs(token, 0, 4000).text
    found = {output.path: output for output in site.outputs(token, _keep)}
    assert set(found) == {"deep/a", "result.json"}
    assert found["deep/a"].digest == "sha256:" + hashlib.sha256(b"x").hexdigest()
    (line,) = site.progress(token.rsplit(".", 1)[0], 0)
    assert (line["step"], line["of"], line["loss"]) == (1, 2, 0.5)
    assert site.progress(token.rsplit(".", 1)[0], 1) == []


def check_the_state_folder_is_kept_between_attempts(site: Site) -> None:
    job = fresh()
    code = "import os; f = open(os.environ['LILONG_STATE'] + '/n', 'a+'); f.write('x'); f.seek(0); print('count', len(f.read()))"
    for attempt in (1, 2):
        site.submit(f"{job}.{attempt}", program(code))
        until(site, f"{job}.{attempt}", finished)
        site.tidy(f"{job}.{attempt}", last=False)
    assert "count 2" in site.logs(f"{job}.2", 0, 4000).text


def check_a_log_can_be_followed_by_offset(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import time; print('一二三', flush=True); time.sleep(60)"))
    until(site, token, said(site, token, "三\n"))
    text, at = "", 0
    while (part := site.logs(token, at, 4)).text:  # 4 bytes would cut the second character of 3 bytes each
        assert part.offset == at
        text, at = text + part.text, part.next
    assert text == "一二三\n"
    site.cancel(token)
    until(site, token, finished)


def check_cancel_ends_the_whole_tree_within_two_seconds(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid(); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "        if os.fork(): os._exit(0)\n"
        "        while True:\n"
        "            open(os.environ['LILONG_STATE'] + '/beat', 'w').write(str(time.time())); time.sleep(0.05)\n"
        "print('up', flush=True)\n"
        "time.sleep(600)\n"
    )
    site.submit(token, program(code))
    until(site, token, said(site, token, "up"))
    site.cancel(token)
    site.cancel(token)
    sight = until(site, token, finished)
    assert sight.ending is Ending.CANCELLED
    # a later attempt of the same job sees the daemons' heart no longer beating
    later = f"{token.rsplit('.', 1)[0]}.2"
    look = "import os, time; p = os.environ['LILONG_STATE'] + '/beat'; a = open(p).read(); time.sleep(0.4); print('same' if a == open(p).read() else 'beats')"
    site.submit(later, program(look))
    until(site, later, finished)
    assert "same" in site.logs(later, 0, 4000).text, site.logs(later, 0, 4000).text


def check_nothing_outlives_the_program_itself(site: Site) -> None:
    job = fresh()
    code = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    while True:\n"
        "        open(os.environ['LILONG_STATE'] + '/beat', 'w').write(str(time.time())); time.sleep(0.05)\n"
        "time.sleep(0.3)\n"
    )
    site.submit(f"{job}.1", program(code))
    until(site, f"{job}.1", finished)
    look = "import os, time; p = os.environ['LILONG_STATE'] + '/beat'; a = open(p).read(); time.sleep(0.4); print('same' if a == open(p).read() else 'beats')"
    site.submit(f"{job}.2", program(look))
    until(site, f"{job}.2", finished)
    assert "same" in site.logs(f"{job}.2", 0, 4000).text


def check_a_cancel_that_overtakes_its_submit_sticks(site: Site) -> None:
    token = f"{fresh()}.1"
    site.cancel(token)
    site.submit(token, program("print('ran')"))
    sight = until(site, token, finished)
    assert sight.ending is Ending.CANCELLED
    assert "ran" not in site.logs(token, 0, 4000).text


def check_the_time_limit_holds(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import time; time.sleep(600)", timeout_s=1))
    sight = until(site, token, finished)
    assert sight.ending is Ending.TIMEOUT
    assert sight.exit is not None and "1 s" in sight.exit.reason


@needs("memory")
def check_the_memory_limit_holds(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import time\nkept = []\nfor _ in range(60):\n    kept.append(bytearray(b'x' * (20 << 20))); time.sleep(0.05)\nprint('got it all')"
    )
    site.submit(token, program(code, memory_mib=100))
    sight = until(site, token, finished)
    assert sight.ending is Ending.MEMORY, sight
    assert "got it all" not in site.logs(token, 0, 4000).text


@needs("services")
def check_a_service_becomes_ready_and_answers_at_its_address(site: Site) -> None:
    from lilong.floors.compute.supervisor.probe import answers

    token = f"{fresh()}.1"
    site.submit(token, program(SERVICE, service=True))
    sight = until(site, token, lambda sight: sight.address is not None or finished(sight))
    assert sight.phase is Phase.RUNNING, site.logs(token, 0, 4000).text
    assert sight.address is not None
    kind, _, place = sight.address.partition(":")
    if kind == "unix":
        from pathlib import Path

        assert answers(Path(place))
    site.cancel(token)
    assert until(site, token, finished).ending is Ending.CANCELLED


def check_the_inventory_is_sane(site: Site) -> None:
    inventory = site.inventory()
    assert inventory.nodes, "a site without nodes"
    names = [node.name for node in inventory.nodes]
    assert len(set(names)) == len(names)
    assert set(inventory.foreign) <= set(names)
    for node in inventory.nodes:
        assert node.cpus > 0 and node.memory_mib > 0 and node.devices >= 0
        assert bool(node.devices) <= bool(node.accelerator), f"{node.name} has devices of no class"
        assert all(amount >= 0 for amount in inventory.foreign.get(node.name, (0, 0, 0)))


def check_what_is_watched_comes_at_least_once_and_only_goes_forward(site: Site) -> None:
    cursor = site.watch("").cursor
    tokens = [f"{fresh()}.1" for _ in range(4)]
    seen: dict[str, list[Phase]] = {token: [] for token in tokens}
    for number, token in enumerate(tokens):
        site.submit(token, program(f"import time; time.sleep({0.2 * number})"))
    end = time.monotonic() + getattr(site, "patience_s", PATIENCE_S)
    while not all(phases and phases[-1] is Phase.FINISHED for phases in seen.values()):
        assert time.monotonic() < end, seen
        watched = site.watch(cursor)
        cursor = watched.cursor
        for token, sight in watched.sights.items():
            if token in seen:
                seen[token].append(sight.phase)
        time.sleep(getattr(site, "poll_s", POLL_S))
    for token, phases in seen.items():
        order = [_ORDER[phase] for phase in phases]
        assert order == sorted(order), (token, phases)
    everything = site.watch("").sights  # what was not tidied is told again to whoever begins anew
    assert {everything[token].phase for token in tokens} == {Phase.FINISHED}


def check_a_site_opened_anew_finds_what_was_begun(site: Site, again: Site) -> None:
    token, never = f"{fresh()}.1", f"{fresh()}.1"
    site.submit(token, program("import time; print('up', flush=True); time.sleep(600)"))
    until(again, token, said(again, token, "up"))
    assert again.find(token).phase is Phase.RUNNING
    assert again.find(never).phase is Phase.NEVER
    assert again.watch("").sights[token].phase is Phase.RUNNING
    try:
        again.submit(token, program("print('twice')"))
    except AlreadySubmitted:
        pass
    else:
        raise AssertionError("a second submit was taken")
    again.cancel(token)
    assert until(site, token, finished).ending is Ending.CANCELLED
    assert "twice" not in site.logs(token, 0, 4000).text


def check_a_log_of_100_mb_is_followed_piece_by_piece(site: Site) -> None:
    token = f"{fresh()}.1"
    code = "import sys\nline = 'x' * 99_999 + '\\n'\nfor _ in range(1000): sys.stdout.write(line)\nprint('the end')"
    site.submit(token, program(code))
    sight = until(site, token, finished)
    assert sight.ending is Ending.EXITED, sight
    at, tail, limit, left_out = 0, "", 1 << 20, False
    while (part := site.logs(token, at, limit)).text:
        assert part.offset == at and len(part.text) <= limit + 100
        at, tail, left_out = part.next, part.text[-100:], left_out or "of the log are left out here]\n" in part.text
    assert at == 100_000_008
    assert tail.endswith("x\nthe end\n") and left_out, tail
    assert site.logs(token, -8, limit) == LogPart(at - 8, at, "the end\n")


@needs("memory")
def check_a_memory_bomb_is_ended_with_its_reason(site: Site) -> None:
    token = f"{fresh()}.1"
    code = "import time\nkept = [bytearray(b'x' * (20 << 20)) for _ in range(40)]\nprint('got it all')\ntime.sleep(60)"
    site.submit(token, program(code, memory_mib=100))
    sight = until(site, token, finished)
    assert sight.ending is Ending.MEMORY, sight
    assert sight.exit is not None and "100 MiB" in sight.exit.reason


@needs("processes")
def check_a_fork_bomb_is_ended_with_its_reason(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import os, time\n"
        "for _ in range(3000):\n"
        "    try:\n"
        "        if os.fork() == 0: time.sleep(60); os._exit(0)\n"
        "    except OSError: time.sleep(0.001)\n"
        "print('all')\ntime.sleep(60)"
    )
    site.submit(token, program(code, memory_mib=4096))
    sight = until(site, token, finished)
    assert sight.ending in (Ending.PROCESSES, Ending.MEMORY), sight


@needs("walls")
def check_a_program_writes_nowhere_but_into_its_folders(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import os\n"
        "out, given = os.environ['LILONG_OUT'], os.environ['LILONG_IN']\n"
        "places = ['/etc', '/usr/bin', '/var/lib', '/root', '/home', '/opt', given, os.path.dirname(out)]\n"
        "wrote = []\n"
        "for place in places:\n"
        "    for name in ('exit.json', 'lilong-was-here'):\n"
        "        try:\n"
        "            with open(os.path.join(place, name), 'w') as file: file.write('x')\n"
        "            wrote.append(os.path.join(place, name)); os.unlink(wrote[-1])\n"
        "        except OSError: pass\n"
        "print('wrote', wrote)\n"
        "open(os.path.join(out, 'mine'), 'w').write('x')"
    )
    site.submit(token, program(code))
    sight = until(site, token, finished)
    assert sight.exit is not None and sight.exit.code == 0, site.logs(token, 0, 4000).text
    assert "wrote []" in site.logs(token, 0, 4000).text, site.logs(token, 0, 4000).text
    assert [output.path for output in site.outputs(token, _keep)] == ["mine"]


def check_links_in_the_output_folder_are_refused(site: Site) -> None:
    for code in ("os.symlink('/etc/passwd', 'link')", "os.mkdir('deep'); os.symlink('/etc', 'deep/link')", "os.mkfifo('pipe')"):
        token = f"{fresh()}.1"
        site.submit(token, program(f"import os; os.chdir(os.environ['LILONG_OUT']); {code}"))
        sight = until(site, token, finished)
        assert sight.exit is not None and sight.exit.code == 0, site.logs(token, 0, 4000).text
        try:
            site.outputs(token, _keep)
        except OutputRefused:
            continue
        raise AssertionError(f"{code} was taken")


@needs("secrets")
def check_secrets_come_by_descriptor_and_nowhere_else(site: Site) -> None:
    token, secret = f"{fresh()}.1", uuid4().hex
    code = (
        "import hashlib, os, sys; from lilong.ground.work import Workspace\n"
        "environment = open('/proc/self/environ', 'rb').read() + open('/proc/self/cmdline', 'rb').read()\n"
        "secrets = Workspace.here().secrets()\n"
        "print('digest', hashlib.sha256(secrets['TOKEN'].encode()).hexdigest(), sorted(secrets))\n"
        "print('seen', secrets['TOKEN'].encode() in environment)\n"
        "print('again', Workspace.here().secrets() == secrets)"
    )
    site.submit(token, program(code, secrets={"TOKEN": secret, "OTHER": "x"}))
    until(site, token, finished)
    text = site.logs(token, 0, 4000).text
    assert f"digest {hashlib.sha256(secret.encode()).hexdigest()} ['OTHER', 'TOKEN']" in text, text
    assert "seen False" in text and "again True" in text, text
    assert secret not in text


@needs("usage")
def check_what_is_used_can_be_told_while_it_runs_and_after(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('burnt', flush=True); time.sleep(600)"
    )
    site.submit(token, program(code))
    until(site, token, lambda sight: (site.usage(token).cpu_s or 0.0) >= 0.1 or finished(sight))
    assert (site.usage(token).cpu_s or 0.0) >= 0.1
    site.cancel(token)
    sight = until(site, token, finished)
    assert sight.exit is not None
    assert (site.usage(token).cpu_s or 0.0) >= 0.1


@needs("drain")
def check_a_drained_node_takes_no_new_work_until_it_is_opened(site: Site) -> None:
    name = site.inventory().nodes[-1].name
    site.drain(name, on=True)
    site.drain(name, on=True)
    try:
        assert [node.open for node in site.inventory().nodes if node.name == name] == [False]
    finally:
        site.drain(name, on=False)
    assert [node.open for node in site.inventory().nodes if node.name == name] == [True]
    try:
        site.drain("there-is-no-such-node", on=True)
    except NotFound:
        return
    raise AssertionError("a node that is not there was drained")


_MEET = """
import json, os, socket, time
rank, place = int(os.environ["RANK"]), (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "LILONG_NODES")
said = json.dumps({name: int(os.environ[name]) for name in names}) + "\\n"
if rank == 0:
    with socket.create_server(("", place[1])) as listener:
        others = [said]
        for _ in range(int(os.environ["WORLD_SIZE"]) - 1):
            connection, _ = listener.accept()
            others.append(connection.makefile().readline())
    open(os.environ["LILONG_OUT"] + "/met", "w").writelines(others)
else:
    for _ in range(600):
        try:
            connection = socket.create_connection(place)
            break
        except OSError:
            time.sleep(0.1)
    connection.sendall(said.encode())
print("rank", rank, "is done")
"""


@needs("gangs")
def check_the_ranks_of_a_gang_find_one_another(site: Site) -> None:
    token, kept = f"{fresh()}.1", {}

    def keep(file: IO[bytes]) -> tuple[str, int]:
        kept["met"] = file.read()
        return "sha256:" + "0" * 64, len(kept["met"])

    site.submit(token, program(_MEET, tasks=3))
    sight = until(site, token, finished)
    text = site.logs(token, 0, 1 << 16).text
    assert sight.exit is not None and sight.exit.code == 0, text
    site.outputs(token, keep)
    ranks = sorted((json.loads(line) for line in kept["met"].splitlines()), key=lambda told: int(told["RANK"]))
    assert [told["RANK"] for told in ranks] == [0, 1, 2]
    assert {told["WORLD_SIZE"] for told in ranks} == {3}
    for told in ranks:
        beside = [other for other in ranks if other["NODE_RANK"] == told["NODE_RANK"]]
        assert sorted(other["LOCAL_RANK"] for other in beside) == list(range(told["LOCAL_WORLD_SIZE"])), ranks
    assert {told["LILONG_NODES"] for told in ranks} == {len({told["NODE_RANK"] for told in ranks})}
    assert all(f"[{rank}] rank {rank} is done" in text for rank in range(3)), text


@needs("gangs")
def check_one_failing_rank_ends_its_gang(site: Site) -> None:
    token = f"{fresh()}.1"
    code = "import os, sys, time\nif os.environ['RANK'] == '1': sys.exit(7)\ntime.sleep(600)"
    site.submit(token, program(code, tasks=3, timeout_s=300))
    sight = until(site, token, finished)
    assert sight.phase is Phase.FINISHED and sight.ending is Ending.EXITED, sight
    assert sight.exit is not None and sight.exit.code == 7, sight


@needs("gangs")
def check_cancel_ends_all_ranks(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import time; print('up', flush=True); time.sleep(600)", tasks=2))
    until(site, token, lambda _: site.logs(token, 0, 4000).text.count("up") == 2)
    site.cancel(token)
    assert until(site, token, finished).ending is Ending.CANCELLED


@needs("stop")
def check_a_closing_house_stops_its_jobs(site: Site) -> None:
    token = f"{fresh()}.1"
    site.submit(token, program("import time; print('up', flush=True); time.sleep(600)"))
    until(site, token, said(site, token, "up"))
    site.stop()
    assert until(site, token, finished).ending is Ending.STOPPED


SERVICE = """
import http.server, os, socketserver, time
class Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.time() > born + 0.3 else 503); self.end_headers(); self.wfile.write(b"ok")
    def address_string(self): return "unix"
    def log_message(self, *_): pass
born = time.time()
socketserver.UnixStreamServer(os.path.join(os.environ["LILONG_STATE"], "service.sock"), Door).serve_forever()
"""

CHECKS: tuple[Callable[[Site], None], ...] = tuple(
    value for name, value in list(globals().items()) if name.startswith("check_") and name != f"check_{_ANEW}"
)
