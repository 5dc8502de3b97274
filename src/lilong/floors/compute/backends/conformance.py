"""What every site must do, as checks that run against a real one: `for check in CHECKS: check(site)`.

A site's author passes a site that can run Python and waits for the answer; each check uses jobs of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import IO
from uuid import uuid4

from lilong.floors.compute.contract import (
    PYTHON,
    AlreadySubmitted,
    Ending,
    Phase,
    Sight,
    Site,
    Task,
)

PATIENCE_S = 60.0


def program(code: str, **asks: object) -> Task:
    return replace(Task(argv=(PYTHON, "-c", code), memory_mib=256, timeout_s=60), **asks)  # type: ignore[arg-type]


def fresh() -> str:
    return f"job-{uuid4().hex[:20]}"


def until(site: Site, token: str, good: Callable[[Sight], bool], patience: float = PATIENCE_S) -> Sight:
    """Look at an attempt until `good`; fails when that takes too long."""
    end = time.monotonic() + patience
    while True:
        sight = site.find(token)
        if good(sight):
            return sight
        if time.monotonic() > end:
            raise AssertionError(f"{token} is still {sight}; its log: {site.logs(token, 0, 4000).text}")
        time.sleep(0.02)


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


def check_the_memory_limit_holds(site: Site) -> None:
    token = f"{fresh()}.1"
    code = (
        "import time\nkept = []\nfor _ in range(60):\n    kept.append(bytearray(b'x' * (20 << 20))); time.sleep(0.05)\nprint('got it all')"
    )
    site.submit(token, program(code, memory_mib=100))
    sight = until(site, token, finished)
    assert sight.ending is Ending.MEMORY, sight
    assert "got it all" not in site.logs(token, 0, 4000).text


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

CHECKS: tuple[Callable[[Site], None], ...] = tuple(value for name, value in list(globals().items()) if name.startswith("check_"))
