"""What every machine that runs the house has: the descriptions and licences of its installed Python packages.

Small and plain, but real text with real licences; it stands in where no packages can be fetched.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lilong.floors.corpus.backends.source_set import FetchedSource, SourceSet, file_digest, keep_evidence, pack
from lilong.floors.corpus.contract import NoTexts
from lilong.floors.corpus.curation.licences import recognise, spdx

_LICENCE_FILE = re.compile(r"(?:LICEN[SC]E|COPYING|NOTICE)[^/]*$", re.IGNORECASE)
_CLASSIFIERS = {
    "MIT License": "MIT", "Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC", "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0", "The Unlicense (Unlicense)": "Unlicense",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PythonPackages:
    """One source per licence, so that the licence of each document is the licence of its source."""

    why: str

    def fetch(self, out: Path, state: Path, report: Callable[[int, int, str], None]) -> SourceSet:
        """Raises NoTexts. Packages whose licence is not recognised are left out, and counted in the note."""
        report(0, 2, "reading the descriptions of installed Python packages")
        groups: dict[str, dict[str, bytes]] = defaultdict(dict)
        evidence: dict[str, list[str]] = defaultdict(list)
        left_out = 0
        for distribution in _distributions():
            texts = _texts(distribution)
            licence = _licence(distribution, texts)
            if licence is None:
                left_out += 1
                continue
            groups[licence] |= texts
            evidence[licence].append(_said(distribution, texts))
        if not groups:
            raise NoTexts(folder="the installed Python packages")
        report(1, 2, "packing")
        sources = tuple(_source(licence, groups[licence], "\n\n".join(evidence[licence]), out) for licence in sorted(groups))
        note = f"{self.why}. The texts are those of the installed Python packages; {left_out} without a known licence were left out"
        return SourceSet("python-packages", note, sources)


def _distributions() -> Iterable[metadata.Distribution]:
    named = {(one.metadata["Name"] or "").lower(): one for one in metadata.distributions()}
    return [named[name] for name in sorted(named) if name]


def _texts(distribution: metadata.Distribution) -> dict[str, bytes]:
    name = f"{distribution.metadata['Name']}-{distribution.version}"
    texts = {}
    description = distribution.read_text("METADATA") or ""
    if description:
        texts[f"{name}/METADATA"] = description.encode("utf-8", "surrogateescape")
    for file in distribution.files or ():
        if ".dist-info/" in str(file) and _LICENCE_FILE.search(str(file)):
            path = Path(str(distribution.locate_file(file)))
            if path.is_file():
                texts[f"{name}/{path.name}" if path.suffix else f"{name}/{path.name}.txt"] = path.read_bytes()
    return texts


def _licence(distribution: metadata.Distribution, texts: dict[str, bytes]) -> str | None:
    fields = distribution.metadata.json
    said: list[str | None] = [str(fields.get("license_expression", ""))]
    said += [_CLASSIFIERS.get(str(one).rsplit(" :: ", 1)[-1]) for one in fields.get("classifier", ())]
    short = str(fields.get("license", ""))
    said.append(short if len(short) < 40 else None)
    for name in said:
        found = spdx(name) if name else None
        if found:
            return found
    files = (text for path, text in sorted(texts.items()) if not path.endswith("/METADATA"))
    return next((found.expression for found in (recognise(text.decode("utf-8", "replace")) for text in files) if found), None)


def _said(distribution: metadata.Distribution, texts: dict[str, bytes]) -> str:
    head = (distribution.read_text("METADATA") or "").split("\n\n", 1)[0]
    lines = [line for line in head.split("\n") if re.match(r"(?:Name|Version|License[\w-]*|Classifier: License|Author[\w-]*):?", line)]
    files = [path for path in sorted(texts) if not path.endswith("/METADATA")]
    return "\n".join([*lines, *(f"(licence file: {path})" for path in files)])


def _source(licence: str, texts: dict[str, bytes], evidence: str, out: Path) -> FetchedSource:
    name = "python-packages-" + re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")[:60]
    archive = out / "archives" / f"{name}.tar"
    pack(archive, texts)
    return FetchedSource(
        name=name,
        package="python-packages",
        version="",
        archive=f"archives/{name}.tar",
        digest=file_digest(archive),
        bytes=archive.stat().st_size,
        origin="installed Python packages",
        licence=licence,
        evidence=keep_evidence(out, name, evidence),
        evidence_start=0,  # what every package says of itself, one after the other
        evidence_end=len(evidence),
    )
