"""One file, looked at for everything: the verdict that is kept by its digest."""

from __future__ import annotations

from typing import Any, BinaryIO

from lilong.floors.hub.rules import files, pickles

from . import secrets, tensors
from .archives import Archive
from .forwards import Broken

_IMPORTS = 200  # of one pickle that are named


def named(path: str) -> str:
    """How a file is read because of its name: as a pickle, whatever its first bytes are, or by its content alone."""
    return "pickle" if path.lower().endswith(files.PICKLES) else ""


def look(file: BinaryIO, size: int, reading: str) -> tuple[str, dict[str, Any]]:
    """(status, what was found): safe, caution (a secret), unsafe (a pickle beyond the allow-list, or no pickle under such a name)."""
    start = file.read(files.SNIFFED)
    found: dict[str, Any] = {}
    status = "safe"
    try:
        weights = tensors.read(file, size)
    except tensors.NoHeader as problem:
        weights = None
        found["weights_problem"] = str(problem)
    if weights is not None:
        found["weights"] = {
            "format": weights.format,
            "parameters": dict(weights.parameters),
            "total": weights.total,
            "words": dict(weights.words),
        }
    elif reading or files.is_pickle("", start) or _holds_pickle(file, size, start):
        verdict = pickles.judged(file, size)
        imports = [{"module": _shown(name.module), "name": _shown(name.name), "allowed": fine} for name, fine in verdict.imports[:_IMPORTS]]
        found["pickle"] = {"problem": verdict.problem, "imports": imports}
        status = "unsafe" if verdict.problem else "safe"
    elif files.is_text(start, cut=len(start) < size):
        file.seek(0)
        findings = secrets.find(file.read(secrets.LIMIT))
        if findings:
            found["secrets"] = [[finding.rule, finding.line] for finding in findings]
            status = "caution"
        if size > secrets.LIMIT:
            found["secrets_partial"] = True
    return status, found


def _holds_pickle(file: BinaryIO, size: int, start: bytes) -> bool:
    """Whether an archive under any name is one that torch.load would take for its own."""
    if start[:4] != b"PK\x03\x04":
        return False
    try:
        return any(name.endswith("/data.pkl") for name in Archive(file, size).members)
    except Broken:
        return b"data.pkl" in start


def _shown(name: str) -> str:
    """A name out of a hostile file, as it may stand in an answer."""
    return name[:200].encode("utf-8", "replace").decode()
