"""Documentation from Debian's packages, with apt in a state folder of its own: nothing is installed and no root is needed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lilong.floors.corpus.backends.source_set import ArchiveFiles, FetchedSource, SourceSet, file_digest, keep_evidence
from lilong.floors.corpus.contract import MissingPackage, PackagesUnreachable
from lilong.floors.corpus.curation.licences import of_copyright
from lilong.ground import seams

_TIMEOUT_S = 600
_URI = re.compile(r"^'(?P<uri>[^']+)' (?P<file>\S+) (?P<size>\d+)(?: (?P<hash>\S+))?$", re.MULTILINE)
_NO_VERSION = re.compile(r"[\d.]+")


def _environment() -> dict[str, str]:
    """What apt may know of this process's surroundings: where programs are, and the proxies that the job was given."""
    passed = ("PATH", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    return {"LANG": "C.UTF-8", **{name: os.environ[name] for name in passed if name in os.environ}}


@dataclass(frozen=True, slots=True)
class DebianPackages:
    """Fetches packages by name; `python3-doc` and its like stand for the versioned package they depend on."""

    packages: tuple[str, ...]

    @staticmethod
    def here() -> str | None:
        """None where apt can be used; otherwise why it cannot."""
        missing = [program for program in ("apt-get", "apt-cache", "dpkg-deb") if shutil.which(program) is None]
        return f"{platform.system()} without {', '.join(missing)}" if missing else None

    def fetch(self, out: Path, state: Path, report: Callable[[int, int, str], None]) -> SourceSet:
        """Raises PackagesUnreachable when there is no network, MissingPackage for a name that the lists do not have."""
        apt = _Apt(state / "apt")
        of = len(self.packages) + 2
        report(0, of, "asking for the package lists")
        apt.update()
        names = apt.resolve(self.packages)
        report(1, of, f"downloading {len(names)} packages")
        versions = apt.versions(names)
        origins = apt.download(names, state / "archives")
        sources = []
        for step, name in enumerate(names):
            report(2 + step, of, f"reading the licence of {name}")
            sources.append(_source(name, versions[name], state / "archives", origins[name], out, state))
        shutil.rmtree(state / "apt" / "cache")  # some 60 MB that only an interrupted attempt would want again
        return SourceSet("debian", f"{len(sources)} Debian packages, fetched with apt", tuple(sources))


def unversioned(name: str, depends: Sequence[str]) -> str:
    """The package that a meta package stands for: its only dependency, where the names differ in nothing but a version.

    python3-doc → python3.11-doc, postgresql-doc → postgresql-doc-15; a package that is no such meta package stands for itself.
    """
    if len(depends) == 1 and _stem(depends[0]) == _stem(name):
        return depends[0]
    return name


def _stem(name: str) -> str:
    return "-".join(part for part in _NO_VERSION.sub("", name).split("-") if part)


class _Apt:
    """apt with folders of its own. The machine's list of archives and its keys are used as they are."""

    def __init__(self, folder: Path) -> None:
        for inner in ("state/lists/partial", "cache/archives/partial"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        self.folder = folder
        self.options = [
            f"-oDir::State={folder / 'state'}", f"-oDir::Cache={folder / 'cache'}", f"-oDir::State::status={folder / 'status'}",
            f"-oDir::Log={folder}", "-oDir::Cache::pkgcache=pkgcache.bin", "-oDir::Cache::srcpkgcache=srcpkgcache.bin", "-oDebug::NoLocking=true", "-oAPT::Sandbox::User=", "-oAcquire::Languages=none",
            "-oAcquire::Retries=2", "-oAcquire::http::Timeout=15", "-oAcquire::https::Timeout=15",
            "-oAPT::Update::Post-Invoke-Success=", "-oBinary::apt::APT::Keep-Downloaded-Packages=true",
        ]  # fmt: skip

    def run(self, program: str, *words: str, cwd: Path | None = None) -> str:
        """Standard output. Raises PackagesUnreachable when the program fails or takes too long."""
        try:
            done = seams.run([program, "-q", *self.options, *words], cwd=cwd, env=_environment(), timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise PackagesUnreachable(problem=f"{program} {words[0]} took longer than {_TIMEOUT_S} s") from None
        if done.returncode != 0:
            raise PackagesUnreachable(problem=_first_error(done.stderr))
        return done.stdout.decode("utf-8", "replace")

    def update(self) -> None:
        """Fetch the lists, unless an earlier attempt has. A list that fails is tolerated while others came."""
        done_before = self.folder / "lists-complete"
        if done_before.exists():
            return
        done = seams.run(["apt-get", "-q", *self.options, "update"], env=_environment(), timeout=_TIMEOUT_S)
        if not any(path.name.rpartition("_")[2].startswith("Packages") for path in (self.folder / "state/lists").iterdir()):
            raise PackagesUnreachable(problem=_first_error(done.stderr))
        if done.returncode == 0:
            done_before.touch()

    def resolve(self, packages: Sequence[str]) -> list[str]:
        """The names to download, each once, in the order given. Raises MissingPackage."""
        for name in packages:
            if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
                raise MissingPackage(package=name)
        known = self.versions(packages)
        for name in packages:
            if name not in known:
                raise MissingPackage(package=name)
        depends: dict[str, list[str]] = {}
        current = ""
        for line in self.run("apt-cache", "depends", "--important", "--no-recommends", *packages).splitlines():
            if line and not line.startswith((" ", "<")):
                current = line.strip()
            found = re.fullmatch(r" +Depends: ([^<\s]+)", line)
            if found:
                depends.setdefault(current, []).append(found.group(1))
        return list(dict.fromkeys(unversioned(name, depends.get(name, ())) for name in packages))

    def versions(self, names: Sequence[str]) -> dict[str, str]:
        """name -> version of the packages that the lists have; apt fails for the others, which are left out."""
        done = seams.run(["apt-cache", "-q", *self.options, "show", "--no-all-versions", *names], env=_environment(), timeout=_TIMEOUT_S)
        shown = done.stdout.decode("utf-8", "replace")
        return dict(re.findall(r"^Package: (\S+)\n(?:.*\n)*?Version: (\S+)$", shown, re.MULTILINE))

    def download(self, names: Sequence[str], folder: Path) -> dict[str, tuple[str, str]]:
        """Bring the packages' archives into the folder; what lies there complete is not fetched again. name -> (file, origin)."""
        folder.mkdir(parents=True, exist_ok=True)
        listed = _URI.finditer(self.run("apt-get", "--print-uris", "download", *names))
        wanted = {found["file"].split("_", 1)[0]: found.groupdict() for found in listed}
        missing = []
        for name in names:
            if name not in wanted:
                raise MissingPackage(package=name)
            there = folder / wanted[name]["file"]
            if not there.is_file() or there.stat().st_size != int(wanted[name]["size"]):
                missing.append(name)
        if missing:
            self.run("apt-get", "download", *missing, cwd=folder)
        return {name: (found["file"], found["uri"]) for name, found in wanted.items()}


def _first_error(stderr: bytes) -> str:
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.startswith(("E:", "W:", "Err"))]
    return (lines[0][2:].strip().rstrip(".") if lines else "apt gave no reason")[:300]


def _source(name: str, version: str, archives: Path, found: tuple[str, str], out: Path, scratch: Path) -> FetchedSource:
    file, origin = found
    target = out / "archives" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(archives / file, target)
    files = ArchiveFiles(target, scratch)
    paths = [path for path in files.paths() if path.endswith("/copyright")]
    own = [path for path in paths if path == f"usr/share/doc/{name}/copyright"] or paths
    evidence = files.read(own[0]).decode("utf-8", "replace") if own else ""
    files.close()
    said = of_copyright(evidence).whole if evidence else None
    return FetchedSource(
        name=name,
        package=name,
        version=version,
        archive=f"archives/{file}",
        digest=file_digest(target),
        bytes=target.stat().st_size,
        origin=origin,
        licence=said.expression if said else None,
        evidence=keep_evidence(out, name, evidence),
        evidence_start=said.start if said else None,
        evidence_end=said.end if said else None,
    )
