"""The documents are held to the code: links, settings, roles, commands, chain files, floors' pages; and what they show is run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from lilong.chain import rules as chain
from lilong.cli import root
from lilong.floors import declared
from lilong.floors.compat.contract import Examination, ExaminationAsk
from lilong.floors.corpus.contract import BuildAsk, SourcesAsk, SourceSet, Version
from lilong.floors.evaluation.contract import EvaluationRun, PlannedProtocol, ProtocolAsk
from lilong.floors.evaluation.contract import RunAsk as EvaluationRunAsk
from lilong.floors.governance.contract import Registration, RequestAsk, ReviewAsk
from lilong.floors.serving.contract import DeployAsk, DeploymentRow
from lilong.floors.training.contract import Base, BaseAsk, Run, RunAsk
from lilong.ground.access import ROLES
from lilong.ground.config import Settings
from lilong.ground.errors import LilongError
from lilong.ground.presence import running
from tests.serving.conftest import TOKEN, LiveGateway, Snapshot, deployment, hashed, started
from tests.serving.conftest import Key as GatewayKey

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src" / "lilong"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PAGES = [*DOCUMENTS, *sorted(SRC.glob("floors/*/README.md"))]
GUIDES = ROOT / "docs" / "guides"
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str = "") -> list[str]:
    return [body for word, body in _FENCE.findall(text(path)) if word.strip() == language]


def prose(path: Path) -> str:
    return _FENCE.sub("", text(path))


def named(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


# --- links -------------------------------------------------------------------------------------------------------------------


@named(PAGES)
def test_every_link_and_picture_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+://|mailto:|#", target):
            continue
        place, _, anchor = target.partition("#")
        assert (path.parent / place).exists(), f"{path.name} leads to {target}, which is not there"
        assert not anchor or anchor in anchors(path.parent / place), f"{target} has no such heading"


def anchors(path: Path) -> set[str]:
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)}


@named(PAGES)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    for place in re.findall(r"`((?:src|docs|examples|bench|tests)/[\w./-]+)`", prose(path)):
        assert (ROOT / place.partition("::")[0]).exists(), f"{path.name} names {place}"


def test_every_guide_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+)\)", text(ROOT / "README.md")))
    assert {str(path.relative_to(ROOT)) for path in [*GUIDES.glob("*.md"), *(ROOT / "docs").glob("*.md")]} <= linked


def test_decisions_are_numbered_without_gaps() -> None:
    found = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [path.name[:4] for path in found] == [f"{number:04}" for number in range(1, len(found) + 1)]
    for path in found:
        heading, _, date = text(path).split("\n")[:3]
        assert heading.startswith(f"# {path.name[:4]} ")
        assert re.match(r"\d{4}-\d\d-\d\d\. ", date)


def test_the_architecture_names_every_module_of_the_ground_and_every_engine() -> None:
    page = text(ROOT / "docs" / "architecture.md")
    table = page.split("\n## The ground\n")[1].split("\n## ")[0]
    told = {name for line in table.split("\n") if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    ground = {path.stem for path in (SRC / "ground").iterdir() if path.stem.isidentifier() and not path.stem.startswith("__")} - {"sql"}
    assert told == ground
    picture = page.split("```")[1]
    for word in re.findall(r"[a-z]{2,}", picture.split("the ground:")[0].splitlines()[-1] + picture.splitlines()[-1]):
        assert word in ground
    engines = {f"{path.parent.parent.name}/{path.parent.name}" for path in SRC.glob("floors/*/*/__init__.py")}
    usual = {"api", "service", "rules", "store", "pages", "commands", "backends", "work"}
    assert set(re.findall(r"`(\w+/\w+)`", page)) >= {engine for engine in engines if engine.split("/")[1] not in usual}


# --- settings, roles, metrics --------------------------------------------------------------------------------------------------


def rows(path: Path, header: str) -> list[list[str]]:
    """The cells of the table whose first header cell is this, without header and rule."""
    table = text(path).split(f"\n| {header} |", 1)[1].split("\n\n", 1)[0].split("\n")[2:]
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table]


def test_every_setting_is_documented_with_its_default_and_meaning() -> None:
    shown = {key.strip("`"): (default.strip("`"), meaning) for key, default, meaning in rows(GUIDES / "running.md", "key")}
    settings = {field.name: field for field in fields(Settings) if field.name != "house"}
    assert list(shown) == list(settings)
    for name, (default, meaning) in shown.items():
        plain = Settings.__dataclass_fields__[name].default
        expected = {"": "empty"}.get(plain, str(plain)) if name not in ("cpus", "memory_mib") else "all"
        assert default == expected, name
        assert meaning.startswith(settings[name].metadata["doc"].partition(" (")[0].rstrip(".")), name


def test_every_role_is_documented_with_all_that_it_may() -> None:
    assert [cells[0].strip("`") for cells in rows(GUIDES / "running.md", "role")] == list(ROLES)
    table = text(GUIDES / "running.md").split("\n| permission |")[1].split("\n\n")[0].split("\n")
    assert [name.strip() for name in table[0].strip("| ").split("|")] == list(ROLES)
    shown = {line.split("|")[1].strip(" `"): [cell.strip() == "✓" for cell in line.split("|")[2:-1]] for line in table[2:]}
    permissions = sorted(frozenset().union(*ROLES.values()))
    assert shown == {permission: [permission in may for may in ROLES.values()] for permission in permissions}


def test_every_exit_code_is_documented() -> None:
    shown = [int(cells[0]) for cells in rows(GUIDES / "running.md", "exit code")]
    assert shown == [0, *sorted({1, *(error.exit_code for error in LilongError.__subclasses__())})]


def test_every_metric_is_documented() -> None:
    source = "\n".join(text(path) for path in SRC.rglob("*.py"))
    made = set(re.findall(r"# TYPE (lilong_\w+)", source)) | set(re.findall(r'(?:Counter|Histogram|Gauge)\(\s*"(lilong_\w+)"', source))
    assert {name for cells in rows(GUIDES / "running.md", "metric") for name in re.findall(r"lilong_\w+", cells[0])} == made


# --- commands ------------------------------------------------------------------------------------------------------------------


def shell_lines(path: Path) -> Iterator[str]:
    """The commands of a document's code blocks: whole blocks without a language, or the lines with a prompt where output follows."""
    for block in blocks(path):
        lines = block.replace("\\\n", " ").split("\n")
        shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")] or lines
        yield from (line.strip() for line in shown)


def commands(path: Path) -> list[list[str]]:
    lines = [line.replace(".venv/bin/lilong", "lilong") for line in shell_lines(path)]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lilong ")]


def resolved(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that these words name, and the words left for it. Raises KeyError."""
    command: click.Command = root
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words[0])
        if found is None:
            raise KeyError(words[0])
        command, words = found, words[1:]
    return command, words


def parsed(words: list[str], *, whole: bool) -> None:
    """Hold a command line to the command's own options and arguments, without carrying anything out."""
    command, rest = resolved(words)
    context = click.Context(command)
    given, left, _ = command.make_parser(context).parse_args(list(rest))
    assert left == [], f"{left} are too many words for `lilong {' '.join(words)}`"
    if whole and "help" not in given:
        missing = [each.name for each in command.params if each.required and given.get(each.name or "") in (None, ())]
        assert not missing, f"`lilong {' '.join(words)}` lacks {missing}"


@named([path for path in PAGES if commands(path)])
def test_every_command_in_a_code_block_is_one(path: Path) -> None:
    for words in commands(path):
        parsed(words, whole=True)


@named(PAGES)
def test_every_command_in_a_sentence_is_one(path: Path) -> None:
    for line in re.findall(r"`lilong ([^`…|]+)`", prose(path)):
        parsed(shlex.split(line), whole=False)


def test_every_command_that_a_message_names_is_one() -> None:
    wrong = []
    for path in SRC.rglob("*.py"):
        for line in re.findall(r"`lilong ([a-z][a-z -]*[a-z])[^`]*`", text(path)):
            try:
                resolved(line.split(" -")[0].split())
            except KeyError:
                wrong.append(f"{path.relative_to(ROOT)}: lilong {line}")
    assert wrong == []


def test_every_command_has_a_line_of_help() -> None:
    def walk(command: click.Command, words: str) -> Iterator[str]:
        if not (command.help or "").strip():
            yield words
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                found = command.get_command(click.Context(command), name)
                assert found is not None
                yield from walk(found, f"{words} {name}")

    assert list(walk(root, "lilong")) == []


# --- chain files ---------------------------------------------------------------------------------------------------------------

ASKS: dict[str, tuple[type, type]] = {
    "corpus.sources": (SourcesAsk, SourceSet),
    "corpus.build": (BuildAsk, Version),
    "training.import-base": (BaseAsk, Base),
    "training.run": (RunAsk, Run),
    "evaluation.plan": (ProtocolAsk, PlannedProtocol),
    "evaluation.run": (EvaluationRunAsk, EvaluationRun),
    "compat.examine": (ExaminationAsk, Examination),
    "governance.request": (RequestAsk, Registration),
    "governance.review": (ReviewAsk, Registration),
    "serving.deploy": (DeployAsk, DeploymentRow),
}
ADDED = {"organisation", "key"}


def inputs(uses: str) -> set[str]:
    own = {field.name for field in fields(ASKS[uses][0])} - ADDED
    return own | set(re.findall(r"{(\w+)}", chain.VERBS[uses]))


def shown_chains() -> list[tuple[str, str]]:
    found = [(path.name, text(path)) for path in sorted((ROOT / "examples").glob("*.toml"))]
    return found + [(path.name, block) for path in DOCUMENTS for block in blocks(path, "toml") if "[chain]" in block]


@pytest.mark.parametrize(("name", "source"), shown_chains(), ids=lambda value: value if "\n" not in value else "")
def test_every_chain_file_can_be_carried_out(name: str, source: str) -> None:
    for step in chain.parse(source).steps:
        if step.uses in ASKS:
            assert set(step.inputs) <= inputs(step.uses), f"{name}: {step.name}"
        for needed, output in re.findall(r"\$\{(\w+)\.(\w+)", str(step.inputs)):
            kind = ASKS[next(other.uses for other in chain.parse(source).steps if other.name == needed)][1]
            assert output in {field.name for field in fields(kind)}, f"{name}: {step.name} wants {needed}.{output}"


def test_the_example_is_the_chain_that_the_demo_carries_out() -> None:
    assert text(ROOT / "examples" / "first-chain.toml") == text(SRC / "chain" / "first-chain.toml")


def test_the_guide_tells_every_input_and_no_other_and_only_outputs_that_there_are() -> None:
    sections = dict(re.findall(r"^### `([\w.-]+)`\n(.*?)(?=^### |\Z)", text(GUIDES / "first-chain.md"), re.MULTILINE | re.DOTALL))
    assert list(sections) == list(chain.VERBS)
    for uses, (_, row) in ASKS.items():
        table = sections[uses].split("\n| input |")[1].split("\n\n")[0].split("\n")[2:]
        told = {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}
        assert told == inputs(uses), uses
        outputs = re.sub(r"\([^)]*\)", "", sections[uses].split("Outputs:")[1].split(".")[0])
        assert set(re.findall(r"`(\w+)`", outputs)) <= {field.name for field in fields(row)}, uses
    for word in ("name", "title", "organisation", *sorted(chain._STEP_KEYS)):
        assert f"\n| `{word}` |" in text(GUIDES / "first-chain.md")


# --- floors --------------------------------------------------------------------------------------------------------------------

floors = pytest.mark.parametrize("floor", [floor.name for floor in declared()])


def page(floor: str) -> str:
    return text(SRC / "floors" / floor / "README.md")


@floors
def test_a_floor_tells_its_promise_and_words_on_about_a_page(floor: str) -> None:
    assert page(floor).count("\n") <= (140 if floor == "hub" else 100)  # it names what it lacks of the public one, route by route
    assert "romise" in page(floor)
    assert "ords" in page(floor)


@floors
def test_a_floor_names_its_tables_and_no_others(floor: str) -> None:
    made = {name for path in (SRC / "floors" / floor / "sql").glob("*.sql") for name in re.findall(r"CREATE TABLE (\w+)", text(path))}
    assert set(re.findall(rf"\b{floor}_[a-z_]+[a-z]\b", page(floor))) == made


@floors
def test_a_floor_names_its_events_and_no_others(floor: str) -> None:
    source = "\n".join(text(path) for path in (SRC / "floors" / floor).rglob("*.py"))
    kinds = set(re.findall(rf'kind: ClassVar\[str\] = "({floor}\.[\w.-]+)"', source))
    own = page(floor)
    for kind in kinds:
        name = kind.partition(".")[2]
        short = [f"`{name[at:]}`" for at, letter in enumerate(name) if letter == "-"]
        assert f"`{kind}`" in own or f"`{name}`" in own or any(form in own for form in short), f"{floor} does not name {kind}"
    everywhere = "\n".join(text(path) for path in SRC.rglob("*.py"))
    for told in re.findall(rf"`({floor}\.[a-z]+-[a-z-]+)`", own):
        assert f'"{told}"' in everywhere, f"there is no event {told}"


@floors
def test_the_tests_that_a_floor_names_are_there(floor: str) -> None:
    known = names_of_tests()
    for name, cut in re.findall(r"\b(test_\w+)(…)?", page(floor)):
        found = any(other.startswith(name) for other in known) if cut else name in known
        assert found, f"{floor}/README.md names {name}"


@cache
def names_of_tests() -> frozenset[str]:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    return frozenset(name for path in paths for name in [path.stem, *re.findall(r"def (test_\w+)", text(path))])


# --- what the documents show, run ----------------------------------------------------------------------------------------------


class Shell:
    """Carries out `lilong …` lines in this process: a server that one of them starts is a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said = ""

    def run(self, words: list[str]) -> str:
        result = CliRunner().invoke(root, words, catch_exceptions=False)
        assert result.exit_code == 0, f"lilong {' '.join(words)}: {result.output}"
        self.said += result.output
        return result.output

    def stop(self) -> None:
        for lock in self.folder.glob("*/run/lock"):
            if running(lock.parent.parent):
                self.run(["down", "--house", str(lock.parent.parent)])


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LILONG_PORT", "0")
    opened = Shell(tmp_path)
    yield opened
    opened.stop()


def section(path: Path, title: str) -> list[list[str]]:
    """The commands of one section's first block."""
    body = text(path).split(f"\n## {title}\n", 1)[1].split("\n## ")[0]
    lines = _FENCE.findall(body)[0][1].replace(".venv/bin/lilong", "lilong").split("\n")
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("lilong ")]


def test_the_quick_start_of_the_readme_runs(shell: Shell) -> None:
    shown = section(ROOT / "README.md", "Use it")
    assert {words[0] for words in shown} >= {"up", "org", "user", "token", "status", "down"}
    for words in shown:
        shell.run(words)
    assert "http://127.0.0.1:" in shell.said
    assert running(shell.folder / "my-house") is None


def test_what_the_guide_to_running_shows_runs(shell: Shell) -> None:
    guide = GUIDES / "running.md"
    shell.run(["up", "--house", "my-house", "--detach"])
    for title in ("People", "Tokens"):
        for words in section(guide, title):
            if not any(re.fullmatch(r"[A-Z]+-ID", word) for word in words):
                shell.run(words)
    for words in section(guide, "Backup and restore"):
        shell.run(words)
    assert "0 problems" in shell.said


def code(path: Path, name: str) -> str:
    (found,) = blocks(path, f"python {name}")
    return found


def python(source: str, folder: Path, **environment: str) -> str:
    quiet = {"HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", source], check=False, cwd=folder, env=quiet | environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_examples_for_the_hub_and_the_typed_client_run(live: Any, tmp_path: Path) -> None:
    live.client.post("/api/house/organisations", {"name": "my-team"})
    environment = {"LILONG_URL": live.url, "LILONG_TOKEN": live.operator_token}
    assert re.fullmatch(r"[0-9a-f]{40} \['README.md'\]\n", python(code(GUIDES / "clients.md", "hub"), tmp_path, **environment))
    assert python(code(GUIDES / "clients.md", "client"), tmp_path, **environment).endswith("operator\n")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    """A real gateway over a model server that says what it is told to."""
    socket = tmp_path / "stub.sock"
    stub, _ = started(str(ROOT / "tests" / "serving" / "upstream_stub.py"), "--socket", str(socket))
    known = Snapshot(
        {hashed(TOKEN): GatewayKey("mei", "tok-1", ("my-team",))}, {"stub": deployment(f"unix:{socket}", organisation="my-team")}
    )
    (tmp_path / "gateway").mkdir()
    opened = LiveGateway(tmp_path / "gateway", known).start()
    yield opened
    opened.stop()
    stub.kill()
    stub.wait()


def test_the_example_for_openai_runs(gateway: LiveGateway, tmp_path: Path) -> None:
    said = python(code(GUIDES / "clients.md", "openai"), tmp_path, LILONG_URL=gateway.url, LILONG_TOKEN=TOKEN)
    assert len(re.findall(r"rcpt-\S+", said)) == 2
