"""Headers of weights: safetensors and GGUF, without reading a tensor."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

HEADER_LIMIT = 100 << 20  # bytes; the limit of the safetensors format itself
_GGUF_HEADER = 256 << 20  # bytes that are walked: a vocabulary of half a million words has about 30 MiB
_ENTRIES = 1_000_000  # keys or tensors of a GGUF
_TEXT = 1 << 20  # bytes of a key's text that is kept
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# ggml's numbers of tensor types
GGML = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K",
    14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
    24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


class NoHeader(ValueError):
    """The file does not begin with a header that can be read."""


@dataclass(frozen=True, slots=True)
class Weights:
    """What a file of weights says of itself: how many parameters of each type, and a few words."""

    format: str  # safetensors | gguf
    parameters: Mapping[str, int]
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.parameters.values())


def safetensors_header(file: BinaryIO, size: int, limit: int = HEADER_LIMIT) -> dict[str, Any]:
    """The JSON header. Raises NoHeader."""
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if size < 10 or length > min(limit, size - 8):
        raise NoHeader("its header is longer than it can be")
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError):
        raise NoHeader("its header is not JSON") from None
    if not isinstance(header, dict):
        raise NoHeader("its header is not an object")
    return header


def safetensors(file: BinaryIO, size: int) -> Weights:
    """Raises NoHeader."""
    header = safetensors_header(file, size)
    parameters: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype, shape = str(tensor["dtype"])[:20], [int(side) for side in tensor["shape"]]
        except (TypeError, KeyError, ValueError, OverflowError):
            raise NoHeader("a tensor of its header is malformed") from None
        count = math.prod(shape) if len(shape) <= 64 and all(0 <= side < 1 << 62 for side in shape) else 0
        parameters[dtype] = parameters.get(dtype, 0) + min(count, 1 << 62)
    metadata = header.get("__metadata__")
    words = {"format": str(metadata["format"])[:40]} if isinstance(metadata, dict) and "format" in metadata else {}
    return Weights("safetensors", parameters, words)


class _Gguf:
    """A GGUF's header, read forwards (ggml's gguf.md, versions 2 and 3)."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = min(size, _GGUF_HEADER)

    def take(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise NoHeader("its header is longer than the file, or than any is")
        piece = self._file.read(count)
        if len(piece) != count:
            raise NoHeader("its header is cut off")
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self, most: int) -> str:
        size = self.number("Q")
        kept = self.take(min(size, most))
        self.skip(size - len(kept))
        return kept.decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.take(min(count, 1 << 20)))

    def value(self, kind: int, depth: int = 0) -> Any:
        """A scalar or text; arrays are passed over."""
        if kind in _FORMS:
            return self.number(_FORMS[kind])
        if kind == _STRING:
            return self.text(_TEXT)
        if kind != _ARRAY or depth > 3:
            raise NoHeader("a value of its header has an unknown type")
        inner, count = self.number("I"), self.number("Q")
        if inner in _SIZES:
            self.skip(count * _SIZES[inner])
            return None
        if count > 8 * _ENTRIES:
            raise NoHeader("a list of its header is longer than any is")
        for _ in range(count):
            if inner == _STRING:
                self.skip(self.number("Q"))
            else:
                self.value(inner, depth + 1)
        return None


_KEPT = {"general.architecture": "architecture", "general.name": "name", "general.quantized_by": "quantized_by", "general.license": "license",
         "tokenizer.chat_template": "chat_template", "tokenizer.ggml.bos_token_id": "bos_token_id", "tokenizer.ggml.eos_token_id": "eos_token_id"}  # fmt: skip


def gguf(file: BinaryIO, size: int) -> Weights:
    """Raises NoHeader."""
    file.seek(0)
    reader = _Gguf(file, size)
    if reader.take(4) != b"GGUF" or reader.number("I") not in (2, 3):
        raise NoHeader("it is not a GGUF of version 2 or 3")
    tensors, keys = reader.number("Q"), reader.number("Q")
    if tensors > _ENTRIES or keys > _ENTRIES:
        raise NoHeader("its header promises more than any has")
    words: dict[str, Any] = {}
    for _ in range(keys):
        key = reader.text(1 << 16)
        value = reader.value(reader.number("I"))
        if key in _KEPT and isinstance(value, str | int):
            words[_KEPT[key]] = value
        elif key.endswith(".context_length") and isinstance(value, int):
            words["context_length"] = value
    parameters: dict[str, int] = {}
    for _ in range(tensors):
        reader.text(1 << 16)
        dimensions = reader.number("I")
        if dimensions > 8:
            raise NoHeader("a tensor of it has too many dimensions")
        count = math.prod(reader.number("Q") for _ in range(dimensions))
        kind = reader.number("I")
        reader.skip(8)
        name = GGML.get(kind, f"type-{kind}")
        parameters[name] = parameters.get(name, 0) + min(count, 1 << 62)
    return Weights("gguf", parameters, words)


def read(file: BinaryIO, size: int) -> Weights | None:
    """What the content is, whatever its name; None for anything else. Raises NoHeader for one that promises to be and is not."""
    file.seek(0)
    start = file.read(9)
    if start[:4] == b"GGUF":
        return gguf(file, size)
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= min(HEADER_LIMIT, size - 8):
        return safetensors(file, size)
    return None
