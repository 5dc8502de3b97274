"""The `lilong` command as people and scripts meet it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lilong.cli import root
from tests.command_line import lilong
from tests.conftest import ORGANISATION, LiveServer

HEAVY = ("fastapi", "sqlalchemy", "torch", "pydantic", "starlette", "uvicorn", "rich", "msgspec", "numpy", "cryptography")
NO_ANSWER = {("up",), ("down",), ("demo",), ("hub", "nginx-config"), ("corpus", "policy", "show")}
"""Commands that neither list nor report."""
CURATION = ("curate", "decontaminate", "dedup", "explain", "index", "plan", "tokenise")
NO_HOUSE = {("compute", "simulate"), ("compute", "compare"), ("corpus", "policy", "try"), *(("corpus", name) for name in CURATION)}
"""Commands that answer from a file alone."""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from leaves(found, (*path, name))
    else:
        yield path, command


LEAVES = dict(leaves(root))


def takes(command: click.Command, option: str) -> bool:
    return any(option in parameter.opts for parameter in command.params)


REPORTS = [path for path, command in LEAVES.items() if not any(isinstance(each, click.Argument) and each.required for each in command.params)
           and path != ("chain", "status")  # of the newest chain: there is none yet
           and path[-1] in ("list", "status", "usage", "bases", "matrix", "stacks", "protocols", "verify")]  # fmt: skip


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert command.help and command.help.strip().endswith("."), path
    with click.Context(command, info_name=" ".join(path)) as context:
        assert max(map(len, command.get_help(context).splitlines())) <= 80


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in NO_ANSWER], ids=" ".join)
def test_every_command_that_answers_does_so_in_json_when_asked(path: tuple[str, ...]) -> None:
    assert takes(LEAVES[path], "--json")
    assert takes(LEAVES[path], "--house") or path in NO_HOUSE


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["job", "--help"], ["chain", "run", "--help"], ["up", "--help"], ["user", "list", "--help"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    program = (
        "import sys; sys.argv = ['lilong', *sys.argv[1:]]\nfrom lilong.cli import main\n"
        f"try: main()\nexcept SystemExit: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_asking_a_running_server_loads_no_server(furnished: LiveServer) -> None:
    program = f"import sys; sys.argv = ['lilong', 'status', '--json', '--house', {str(furnished.folder)!r}]\nfrom lilong.cli import root\n" + (
        "try: root()\nexcept SystemExit: print([name for name in ('fastapi', 'sqlalchemy', 'torch') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (json.loads(done.stdout)["name"], done.stderr.strip()) == ("Lilong", "[]")


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    server = LiveServer(tmp_path_factory.mktemp("cli") / "house").start()
    client = server.client
    client.post("/api/house/organisations", {"name": ORGANISATION, "title": "Lantern Works"})
    for user in ("mei", "tomas"):
        client.post("/api/house/users", {"name": user, "title": f"{user.title()}, of a long corridor in a tall building at Lantern Works"})
    ask = {"kind": "test.program", "organisation": ORGANISATION, "argv": ["python", "-c", "print(1)"], "memory_mib": 64, "title": "count to one " * 4}
    client.post("/api/compute/jobs", ask)
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.timeout(900)  # some hundred processes
def test_every_report_is_json_with_and_without_a_server_and_by_url(furnished: LiveServer, tmp_path: Path) -> None:
    assert len(REPORTS) > 15
    token = tmp_path / "token"
    assert lilong("token", "create", "cli", "--out", token, "--house", furnished.folder).code == 0
    by_house = {path: lilong(*path, "--json", "--house", furnished.folder).json for path in REPORTS}
    by_url = {path: lilong(*path, "--json", "--url", furnished.url, "--token-file", token).json for path in REPORTS}
    assert {path: type(value) for path, value in by_house.items()} == {path: type(value) for path, value in by_url.items()}
    assert by_house["org", "list"] == by_url["org", "list"]
    furnished.stop()
    inside = {path: lilong(*path, "--json", "--house", furnished.folder) for path in REPORTS}
    furnished.start()
    assert {path: type(said.json) for path, said in inside.items()} == {path: type(value) for path, value in by_house.items()}
    assert [said.err for said in inside.values() if said.err] == []
    assert inside["org", "list"].json == by_house["org", "list"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_tables_fit_a_terminal_of_80_columns(furnished: LiveServer) -> None:
    program = "import pty, sys, os; os.environ['COLUMNS'] = '80'; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"
    for path in REPORTS:
        argv = [sys.executable, "-c", program, sys.executable, "-m", "lilong.cli", *path, "--house", str(furnished.folder)]
        done = subprocess.run(argv, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        shown = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
        assert [line for line in shown.splitlines() if len(line.rstrip()) > 80 and path != ("verify",)] == [], path


@pytest.mark.slow
def test_an_id_in_a_piped_table_is_whole(furnished: LiveServer) -> None:
    job = lilong("job", "list", "--json", "--house", furnished.folder).json[0]["id"]
    assert job in lilong("job", "list", "--house", furnished.folder).out


@pytest.mark.slow
def test_up_detached_twice_is_one_server_and_down_twice_is_no_error(tmp_path: Path) -> None:
    first = lilong("up", "--house", tmp_path / "house", "--port", "0", "--detach")
    assert lilong("up", "--house", tmp_path / "house", "--port", "0", "--detach").out == first.out
    assert "Stopped" in lilong("down", "--house", tmp_path / "house").out
    assert lilong("down", "--house", tmp_path / "house").code == 0


def test_the_environment_says_where_the_house_is(furnished: LiveServer) -> None:
    assert lilong("org", "list", "--json", env={"LILONG_HOUSE": str(furnished.folder)}).json[0]["name"] == ORGANISATION
    token = str(furnished.folder / "keys" / "operator.token")
    assert lilong("org", "list", "--json", env={"LILONG_URL": furnished.url, "LILONG_TOKEN_FILE": token}).json[0]["name"] == ORGANISATION


def test_ctrl_c_ends_a_command_with_a_line_and_the_status_of_shells() -> None:
    program = (
        "import os, signal, click, lilong.cli\n"
        "waits = click.Command('waits', callback=lambda: os.kill(os.getpid(), signal.SIGINT) or __import__('time').sleep(60))\n"
        "lilong.cli.waits = waits; lilong.cli._OWN += (('waits', 'lilong.cli:waits', ''),)\n"
        "import sys; sys.argv[1:] = ['waits']; lilong.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "lilong: Interrupted.\n")
