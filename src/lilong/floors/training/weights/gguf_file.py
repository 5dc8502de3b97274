"""GGUF files of the llama architecture: read, dequantise, and write again with other weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Names and the order of the rows of the query and key
projections differ between llama.cpp and transformers; this module is the only place that knows how.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from numpy.typing import NDArray

from lilong.floors.training.contract import TrainingDiverged, UnsafeModelFile, UnsupportedModel

Array = NDArray[Any]

_BLOCK = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_WHOLE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
_FILE_TYPE_F16 = 1  # LLAMA_FTYPE_MOSTLY_F16
_F16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class Shape:
    """The numbers that fix a llama model."""

    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_width: int
    context: int
    vocabulary: int
    rope_base: float
    norm_epsilon: float


class GgufFile:
    """One GGUF file, mapped into memory. Raises UnsafeModelFile when it is not a whole, well-formed one."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic != b"GGUF":
            raise UnsafeModelFile(path.name, f"it starts with {magic!r} and not with b'GGUF'")
        try:
            self._reader = gguf.GGUFReader(path)
        except (ValueError, KeyError, IndexError, OverflowError, UnicodeDecodeError, MemoryError) as problem:
            raise UnsafeModelFile(path.name, f"its GGUF structure is damaged ({type(problem).__name__}: {problem})") from problem
        self.path = path

    def value(self, key: str, default: Any = None) -> Any:
        """The metadata value under `key`: a number, a text, a truth value or a list of them."""
        field = self._reader.fields.get(key)
        return default if field is None else field.contents()

    def need(self, key: str) -> Any:
        value = self.value(key)
        if value is None:
            raise UnsupportedModel(self.path.name, f"its metadata lack '{key}'")
        return value

    @property
    def tensor_types(self) -> dict[str, int]:
        """Parameters held per GGML type, e.g. {'Q4_1': 106168320, 'F32': 35136}."""
        totals: dict[str, int] = {}
        for tensor in self._reader.tensors:
            totals[tensor.tensor_type.name] = totals.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
        return totals

    @property
    def shape(self) -> Shape:
        """Raises UnsupportedModel for anything but a plain llama (no rope scaling, no experts)."""
        architecture = self.need("general.architecture")
        if architecture != "llama":
            raise UnsupportedModel(self.path.name, f"its architecture is '{architecture}'")
        for key in ("llama.expert_count", "llama.rope.scaling.type"):
            if self.value(key) not in (None, 0, "none"):
                raise UnsupportedModel(self.path.name, f"'{key}' is {self.value(key)!r}")
        heads, width = self.need("llama.attention.head_count"), self.need("llama.embedding_length")
        return Shape(
            layers=self.need("llama.block_count"),
            width=width,
            feed_forward=self.need("llama.feed_forward_length"),
            heads=heads,
            kv_heads=self.value("llama.attention.head_count_kv", heads),
            head_width=self.value("llama.rope.dimension_count", width // heads),
            context=self.need("llama.context_length"),
            vocabulary=len(self._reader.fields["tokenizer.ggml.tokens"].data),
            rope_base=self.value("llama.rope.freq_base", 10000.0),
            # held as float32; the shortest decimal that gives the same float32 is what the authors wrote
            norm_epsilon=float(str(np.float32(self.need("llama.attention.layer_norm_rms_epsilon")))),
        )

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Every tensor as (name in transformers, float32 array in transformers' order), one at a time."""
        shape = self.shape
        for tensor in self._reader.tensors:
            name = transformers_name(tensor.name)
            if name is None:
                if tensor.name == "rope_freqs.weight":
                    continue
                raise UnsupportedModel(self.path.name, f"the tensor '{tensor.name}' has no place in a llama model")
            try:
                values = gguf.dequantize(tensor.data, tensor.tensor_type)
            except NotImplementedError as problem:
                raise UnsupportedModel(self.path.name, f"tensors of type {tensor.tensor_type.name} cannot be read") from problem
            values = np.ascontiguousarray(values.reshape([int(n) for n in reversed(tensor.shape)]), dtype=np.float32)
            yield name, _rows(name, values, shape, from_llama_cpp)

    def write_f16(self, path: Path, weights: Mapping[str, Array], changes: Mapping[str, str]) -> None:
        """Write a GGUF with this file's metadata and `weights` (names and order of transformers, float32).

        Matrices are held as F16 and vectors as F32, as llama.cpp's own converter does. `changes` replaces text metadata
        such as `general.name`. Raises UnsupportedModel when a tensor is missing, TrainingDiverged when one does not fit into F16.
        """
        shape = self.shape
        writer = gguf.GGUFWriter(path, "llama")
        for key, field in self._reader.fields.items():
            if key.startswith("GGUF.") or key in {"general.architecture", "general.file_type", *changes}:
                continue
            kind = field.types[0]
            writer.add_key_value(key, field.contents(), kind, field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None)
        for key, text in changes.items():
            writer.add_string(key, text)
        writer.add_file_type(_FILE_TYPE_F16)
        for tensor in self._reader.tensors:
            name = transformers_name(tensor.name)
            if name is None:
                writer.add_tensor(tensor.name, np.asarray(tensor.data), raw_dtype=tensor.tensor_type)
                continue
            if name not in weights:
                raise UnsupportedModel(path.name, f"the new weights lack '{name}'")
            values = _rows(name, np.asarray(weights[name]), shape, to_llama_cpp)
            largest = float(np.abs(values).max())
            if not largest <= _F16_MAX:
                raise TrainingDiverged(loss=f"useless ('{name}' reaches {largest})", step="the end", learning_rate="too high")
            writer.add_tensor(tensor.name, values.astype(np.float16) if values.ndim > 1 else values.astype(np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def transformers_name(name: str) -> str | None:
    """The name transformers gives to llama.cpp's tensor `name`; None when it has none.

    >>> transformers_name("blk.7.ffn_up.weight")
    'model.layers.7.mlp.up_proj.weight'
    """
    if match := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name):
        inner = _BLOCK.get(match[2])
        return f"model.layers.{match[1]}.{inner}.weight" if inner else None
    whole = _WHOLE.get(name.removesuffix(".weight"))
    return f"{whole}.weight" if whole and name.endswith(".weight") else None


def from_llama_cpp(values: Array, heads: int) -> Array:
    """Rows of a query or key projection, from interleaved rotary pairs (llama.cpp) to half-and-half (transformers)."""
    pairs = values.reshape(heads, values.shape[0] // heads // 2, 2, *values.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(values.shape))


def to_llama_cpp(values: Array, heads: int) -> Array:
    """The inverse of `from_llama_cpp`."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))


def _rows(name: str, values: Array, shape: Shape, turn: Callable[[Array, int], Array]) -> Array:
    if ".q_proj." in name:
        return turn(values, shape.heads)
    if ".k_proj." in name:
        return turn(values, shape.kv_heads)
    return values
