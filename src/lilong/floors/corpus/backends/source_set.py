"""A source set on disk: `sources.json`, `archives/` and `licences/`. What fetching leaves and building reads."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol

from lilong.floors.corpus.contract import NoSources
from lilong.ground import seams
from lilong.ground.errors import Corrupt, Unavailable


@dataclass(frozen=True, slots=True)
class FetchedSource:
    """One archive with the evidence for its licence. Paths are relative to the source set."""

    name: str
    package: str
    version: str
    archive: str  # archives/…
    digest: str  # sha256:…
    bytes: int
    origin: str  # where it was taken from
    licence: str | None  # SPDX, None where the evidence was not recognised
    evidence: str  # licences/…, or '' where there is none
    evidence_start: int | None = None  # the characters of the evidence that name the licence
    evidence_end: int | None = None
    retrieved_at: str | None = None  # RFC 3339


@dataclass(frozen=True, slots=True)
class SourceSet:
    kind: str  # debian, folder or python-packages
    note: str
    sources: tuple[FetchedSource, ...]

    def retrieved(self, at: str) -> SourceSet:
        """The same sources, fetched at this time."""
        return replace(self, sources=tuple(replace(one, retrieved_at=at) for one in self.sources))

    def write(self, folder: Path) -> None:
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / "sources.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read_all(cls, folder: Path) -> dict[str, SourceSet]:
        """The sets in the folders of this one, by their names; or the one that lies in it, under the name `.`. Raises as `read` does."""
        if (folder / "sources.json").exists():
            return {".": cls.read(folder)}
        places = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        if not places:
            raise NoSources(problem="there is no source set")
        return {name: cls.read(folder / name) for name in places}

    @classmethod
    def read(cls, folder: Path) -> SourceSet:
        """Raises NoSources, or Corrupt where an archive's bytes are not the ones that were fetched."""
        try:
            value: dict[str, Any] = json.loads((folder / "sources.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NoSources(problem="there is no sources.json") from None
        found = cls(value["kind"], value["note"], tuple(FetchedSource(**one) for one in value["sources"]))
        if not found.sources:
            raise NoSources(problem="its list is empty")
        for source in found.sources:
            digest = file_digest(folder / source.archive)
            if digest != source.digest:
                raise Corrupt(place=source.archive, problem=f"its digest is {digest}, not {source.digest}")
        return found


class Backend(Protocol):
    """Brings a source set into `out`. `state` outlives an interrupted attempt; `report` is told (step, of, what)."""

    def fetch(self, out: Path, state: Path, report: Callable[[int, int, str], None]) -> SourceSet: ...


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def keep_evidence(out: Path, name: str, text: str) -> str:
    """Put licence evidence into a source set; answers its path there, '' if there is none."""
    if not text.strip():
        return ""
    path = out / "licences" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return f"licences/{name}.txt"


def pack(path: Path, files: Mapping[str, bytes]) -> None:
    """A tar whose bytes depend on names and contents alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(files[name]), 0o644
            archive.addfile(member, io.BytesIO(files[name]))


class ArchiveFiles:
    """The regular files in a .tar or .deb. Links and devices are not offered; no member is unpacked to disk, so a name can lead nowhere."""

    def __init__(self, path: Path, scratch: Path | None = None) -> None:
        content = package_tar(path, scratch) if path.suffix == ".deb" else path.open("rb")
        self._tar = tarfile.open(fileobj=content)  # noqa: SIM115 - stays open until close()
        self._content = content
        members = (member for member in self._tar.getmembers() if member.isreg())
        self._members = {str(PurePosixPath(member.name)).lstrip("/"): member for member in members}

    def paths(self) -> Sequence[str]:
        return sorted(self._members)

    def size(self, path: str) -> int:
        return self._members[path].size

    def read(self, path: str) -> bytes:
        file = self._tar.extractfile(self._members[path])
        return file.read() if file else b""

    def close(self) -> None:
        self._tar.close()
        self._content.close()


def package_tar(path: Path, scratch: Path | None = None) -> IO[bytes]:
    """The files of a Debian package, as a tar in a nameless file in `scratch`: packages may be larger than memory."""
    content = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - its reader closes it
    try:
        done = seams.run(["dpkg-deb", "--fsys-tarfile", str(path)], timeout=300, stdout=content)
    except FileNotFoundError:
        raise Unavailable(what="dpkg-deb", problem="the program is not installed", way_out="Build on Debian, or install dpkg.") from None
    if done.returncode != 0:
        raise Corrupt(place=path.name, problem=done.stderr.decode("utf-8", "replace").strip() or "dpkg-deb cannot read it")
    content.seek(0)
    return content
