"""The wheel, built and installed alone in a fresh virtual environment, serves the house with all its pages."""

from __future__ import annotations

import http.cookiejar
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lilong.ground.presence import running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[1]
PAGES = ("/", "/chains", "/jobs", "/datasets", "/models", "/sign-in")
HEAVY = ("torch", "numba", "pyarrow", "transformers", "xllamacpp", "onnxruntime", "psycopg", "scipy")
CARRIED = (
    "lilong/ground/sql/0001_ground.sql",
    "lilong/chain/first-chain.toml",
    "lilong/floors/governance/profiles/house.toml",
    "lilong/floors/corpus/curation/recipes/documentation.toml",
    "lilong/floors/corpus/curation/documentation/docs.toml",
    "lilong/floors/corpus/curation/fineweb/policy.toml",
    "lilong/floors/corpus/curation/fineweb/characters.json",
    "lilong/floors/corpus/curation/chinese/gopher-zh.toml",
    "lilong/floors/corpus/curation/code/code.toml",
    "lilong/floors/corpus/curation/dedup/english.json",
    "lilong/floors/corpus/curation/words/english.json",
    "lilong/floors/corpus/curation/words/english.arrow",
    "lilong/py.typed",
)


def run(*argv: str | Path, **how: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False, **how)  # type: ignore[call-overload]
    assert done.returncode == 0, (argv, done.stdout[-3000:], done.stderr[-3000:])
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, REPOSITORY)
    (built,) = folder.glob("lilong-*.whl")
    return built


@pytest.fixture(scope="module")
def lilong(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `lilong` command of a virtual environment that holds the wheel and its base dependencies only."""
    folder = tmp_path_factory.mktemp("alone") / "venv"
    venv.create(folder, with_pip=True)
    run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", REPOSITORY / "constraints.txt", wheel)
    return folder / "bin" / "lilong"


@dataclass
class Visitor:
    url: str
    language: str

    def __post_init__(self) -> None:
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    def get(self, path: str) -> tuple[int, str, bytes]:
        request = urllib.request.Request(self.url + path, headers={"accept": "text/html", "accept-language": self.language})
        try:
            with self._opener.open(request, timeout=30) as answer:
                return answer.status, answer.headers["content-type"], answer.read()
        except urllib.error.HTTPError as problem:
            return problem.code, problem.headers["content-type"], problem.read()


@pytest.fixture(scope="module")
def served(lilong: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A house that the wheel's own server has open: its folder and address."""
    house = tmp_path_factory.mktemp("alone-house") / "house"
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(house.parent)}
    log = (house.parent / "log").open("wb")
    process = subprocess.Popen([lilong, "up", "--house", house, "--port", "0"], cwd=house.parent, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(1200):
            if (server := running(house)) is not None or process.poll() is not None:
                break
            time.sleep(0.05)
        assert server is not None, (house.parent / "log").read_text()[-3000:]
        yield house, server.url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()


def in_the_repository() -> set[str]:
    """Every file of the package but compiled ones."""
    found = (REPOSITORY / "src").rglob("*")
    return {file.relative_to(REPOSITORY / "src").as_posix() for file in found if file.is_file() and "__pycache__" not in file.parts}


def test_the_wheel_holds_every_file_of_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == in_the_repository()
    assert held.issuperset(CARRIED)
    for folder in ("templates/", "static/", "words/", "sql/"):
        assert any(folder in name for name in held), folder


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_opens_after_one_sign_in(lilong: Path, served: tuple[Path, str], language: str) -> None:
    house, url = served
    visitor = Visitor(url, language)
    assert visitor.get("/sign-in")[0] == 200
    status, _, page = visitor.get(run(lilong, "user", "sign-in", "--house", house).strip().removeprefix(url))
    assert (status, f'<html lang="{language}' in page.decode()) == (200, True)
    linked: set[str] = set()
    for path in PAGES:
        status, kind, page = visitor.get(path)
        assert (path, status, kind.split(";")[0]) == (path, 200, "text/html")
        assert f'<html lang="{language}' in page.decode(), path
        linked |= set(re.findall(r'(?:src|href)="(/static/[^"]+)"', page.decode()))
    assert len(linked) > 1
    for file in linked:
        status, kind, content = visitor.get(file)
        assert (file, status, bool(content)) == (file, 200, True)
        assert "html" not in kind


def test_the_house_reports_its_health_and_checks_itself(lilong: Path, served: tuple[Path, str]) -> None:
    house, url = served
    visitor = Visitor(url, "en")
    assert [visitor.get(path)[0] for path in ("/healthz", "/readyz")] == [200, 200]
    assert "0 problems" in run(lilong, "verify", "--house", house)
    assert '"sqlite"' in run(lilong, "status", "--house", house, "--json")


def test_no_heavy_package_came_along_and_the_server_starts_without(lilong: Path) -> None:
    python = lilong.with_name("python")
    seen = run(python, "-c", f"import importlib.util, lilong.operations.serve; print([n for n in {HEAVY!r} if importlib.util.find_spec(n)])")
    assert seen.strip() == "[]"


def test_a_job_that_needs_a_missing_package_says_which_and_where_to_get_it(lilong: Path, served: tuple[Path, str]) -> None:
    """The wheel alone has no numba: a corpus cannot be built, and the refusal is one clear line."""
    python = lilong.with_name("python")
    folder = served[0].parent / "job"
    for name in ("in/sources", "out", "state"):
        (folder / name).mkdir(parents=True)
    (folder / "in" / "spec.json").write_text('{"name": "a/b", "recipe": {}}')
    places = {"LILONG_IN": str(folder / "in"), "LILONG_OUT": str(folder / "out"), "LILONG_STATE": str(folder / "state")}
    done = subprocess.run([python, "-m", "lilong.floors.corpus.work", "build"], env=places, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert "is not installed" in last and "pip install 'lilong[all]'" in last, done.stderr
    assert "Traceback" not in done.stderr
