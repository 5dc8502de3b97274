"""The door for foreign files: names, sizes, and an allow-list of what a model file may be."""

from __future__ import annotations

import json
import re
import unicodedata
from operator import index
from typing import BinaryIO

from .errors import BadInput, TooLarge

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".dill")
_HEADER_LIMIT = 100 << 20  # the limit of the safetensors format itself


class UnsafeFile(BadInput):
    """The file '{path}' cannot be taken: {problem}. {way_out}"""


def name(value: str, field: str) -> str:
    """A slug for an organisation, user or repository. Raises BadInput."""
    if not _NAME.fullmatch(value) or ".." in value or "--" in value:
        raise BadInput(field=field, problem=f"{value[:100]!r} is not a name", way_out="Use 1 to 96 letters, digits, '-', '_' and '.', beginning and ending with a letter or digit.")
    return value


def _is_gits_own(part: str) -> bool:
    """`.git`, and the other spellings of it on file systems that git guards against (core.protectNTFS)."""
    return part.lower().split(":")[0].rstrip(". ") in (".git", "git~1")


def path(value: str) -> str:
    """A relative path inside a repository, as git would take it. Raises BadInput."""
    parts = value.split("/")
    bad = (
        not value
        or any(unicodedata.category(c).startswith("C") or c == "\\" for c in value)  # halves of characters too, which have no bytes
        or len(value.encode()) > 1024
        or any(part in ("", ".", "..") or _is_gits_own(part) or len(part.encode()) > 255 for part in parts)
    )
    if bad:
        raise BadInput(field="path", problem=f"{value[:100]!r} is not a path inside a repository", way_out="Use relative paths with '/', without '..', '.git' or control characters.")
    return value


def check_size(what: str, size: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(what=what, size=size, limit=limit)


def check_model_file(file_name: str, file: BinaryIO, size: int) -> str:
    """The kind of a file offered as weights: `safetensors` or `gguf`. Raises UnsafeFile for everything else, pickles above all.

    Read from the content, not from the name: the safetensors header must parse and tile the file exactly (safetensors format
    specification), a GGUF must begin with its magic and a known version.
    """
    start = file.read(9)
    file.seek(0)
    lower = file_name.lower()
    # A safetensors header of 640 bytes begins with the bytes of a pickle too; its JSON after them does not.
    pickled = start[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") and start[8:9] != b"{"
    if pickled or start[:4] == b"PK\x03\x04" or lower.endswith(_PICKLES):
        raise UnsafeFile(path=file_name, problem="it is a pickle or an archive of pickles, which can run code when loaded", way_out="Save the weights as safetensors.")
    if start[:4] == b"GGUF":
        version = int.from_bytes(start[4:8], "little")
        if version not in (2, 3):
            raise UnsafeFile(path=file_name, problem=f"GGUF version {version} is not known", way_out="Write it as GGUF version 3.")
        return "gguf"
    _check_safetensors(file_name, file, size, int.from_bytes(start[:8], "little"))
    return "safetensors"


def _check_safetensors(file_name: str, file: BinaryIO, size: int, header_size: int) -> None:
    def refuse(problem: str) -> UnsafeFile:
        return UnsafeFile(path=file_name, problem=problem, way_out="Save the weights as safetensors or GGUF.")

    if size < 8 or header_size > min(_HEADER_LIMIT, size - 8):
        raise refuse("it is neither safetensors nor GGUF")
    file.seek(8)
    try:
        header = json.loads(file.read(header_size))
    except (ValueError, RecursionError):
        raise refuse("it is neither safetensors nor GGUF") from None
    finally:
        file.seek(0)
    if not isinstance(header, dict):
        raise refuse("its safetensors header is not an object")
    at = 0
    try:
        spans = sorted((index(begin), index(end)) for begin, end in (tensor["data_offsets"] for key, tensor in header.items() if key != "__metadata__"))
    except (TypeError, KeyError, ValueError):
        raise refuse("its safetensors header is malformed") from None
    for begin, end in spans:
        if begin != at or end < begin:
            raise refuse("its safetensors tensors overlap or leave holes")
        at = end
    if at != size - 8 - header_size:
        raise refuse("its safetensors header does not cover the file")
