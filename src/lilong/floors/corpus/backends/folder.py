"""A folder of the user's own texts.

Licence evidence is a file LICENSE, LICENCE, COPYING or copyright at the top of the folder, or a `licences.toml`:

    [sources.notes]
    path = "notes"                  # a folder inside; "." for all
    licence = "CC-BY-4.0"           # SPDX
    evidence = "notes/LICENSE.txt"  # the file that says so; or:
    statement = "Written by our own staff; rights held by Harbour Press."
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilong.floors.corpus.backends.source_set import FetchedSource, SourceSet, file_digest, keep_evidence, pack
from lilong.floors.corpus.contract import BadRecipe, NoTexts, UnknownLicence
from lilong.floors.corpus.curation.formats import DECLARATION, EVIDENCE, MAX_FILE, text_format
from lilong.floors.corpus.curation.licences import of_copyright, spdx, stated


@dataclass(frozen=True, slots=True)
class FolderOfTexts:
    """Packs a folder; each source of its licences.toml, or the folder as a whole, becomes one archive."""

    folder: Path
    name: str = "texts"

    def fetch(self, out: Path, state: Path, report: Callable[[int, int, str], None]) -> SourceSet:
        """Raises NoTexts, UnknownLicence, BadRecipe (a licences.toml that cannot be used)."""
        declared = self._declared()
        sources = []
        for step, (name, entry) in enumerate(sorted(declared.items())):
            report(step, len(declared), f"packing {name}")
            sources.append(self._source(name, entry, out))
        large = sum(path.is_file() and not path.is_symlink() and path.stat().st_size > MAX_FILE for path in self.folder.rglob("*"))
        left_out = f"; {large} file(s) above {MAX_FILE >> 20} MiB were left out" if large else ""
        counted = f"{len(sources)} {'source' if len(sources) == 1 else 'sources'}"
        return SourceSet("folder", f"{counted} from a folder that was given{left_out}", tuple(sources))

    def _declared(self) -> dict[str, dict[str, Any]]:
        path = self.folder / DECLARATION
        if not path.is_file():
            return {self.name: {"path": "."}}
        try:
            declared: dict[str, dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8")).get("sources", {})
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadRecipe(field=DECLARATION, problem=str(error), way_out="Correct the file.") from None
        for name, entry in declared.items():
            if not re.fullmatch(r"[\w.-]{1,80}", name) or not isinstance(entry, dict):
                raise BadRecipe(
                    field=f"{DECLARATION}: {name}", problem="it is no source", way_out="Use [sources.<name>] with path and licence."
                )
        if not declared:
            raise BadRecipe(field=DECLARATION, problem="it names no source", way_out="Add [sources.<name>] with path and licence.")
        return declared

    def _source(self, name: str, entry: dict[str, Any], out: Path) -> FetchedSource:
        top = self._inside(str(entry.get("path", ".")))
        files = {
            path.relative_to(self.folder.resolve()).as_posix(): path.read_bytes()
            for path in sorted(top.rglob("*"))
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_FILE
            and text_format(path.as_posix()) is not None and not EVIDENCE.fullmatch(path.name)
        }  # fmt: skip
        if not files:
            raise NoTexts(folder=entry.get("path", "."))
        evidence = self._evidence(entry, top)
        licence = entry.get("licence")
        if licence is not None and spdx(str(licence)) is None:
            raise UnknownLicence(source=name, licence=licence)
        declared = spdx(str(licence)) if licence else None
        said = stated(evidence, declared) if declared else (of_copyright(evidence).whole if evidence else None)
        archive = out / "archives" / f"{name}.tar"
        pack(archive, files)
        return FetchedSource(
            name=name,
            package=name,
            version="",
            archive=f"archives/{name}.tar",
            digest=file_digest(archive),
            bytes=archive.stat().st_size,
            origin=str(entry.get("origin", "")),
            licence=declared or (said.expression if said else None),
            evidence=keep_evidence(out, name, evidence),
            evidence_start=said.start if said else None,
            evidence_end=said.end if said else None,
        )

    def _evidence(self, entry: dict[str, Any], top: Path) -> str:
        if "evidence" in entry:
            return self._inside(str(entry["evidence"])).read_text(encoding="utf-8", errors="replace")
        if "statement" in entry:
            return str(entry["statement"])
        for folder in dict.fromkeys((top, self.folder)):
            for path in sorted(folder.iterdir()):
                if path.is_file() and EVIDENCE.fullmatch(path.name):
                    return path.read_text(encoding="utf-8", errors="replace")
        return ""

    def _inside(self, path: str) -> Path:
        whole = (self.folder / path).resolve()
        if not whole.is_relative_to(self.folder.resolve()) or not whole.exists():
            raise BadRecipe(field=DECLARATION, problem=f"'{path}' is not in the folder", way_out="Name a path inside it.")
        return whole
