"""The Llama architecture (Touvron et al. 2023; grouped-query attention, rotary embeddings) as an ONNX graph of standard operators.

Tokens are one sequence without a batch axis; keys and values of earlier tokens come in as `past.<i>` (keys at even, values at odd i)
and go out grown. Weights are named as in the safetensors file and given to the session from memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 9
DTYPES = {"F32": np.dtype(np.float32), "F16": np.dtype(np.float16), "BF16": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True, slots=True)
class Architecture:
    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    vocabulary: int
    epsilon: float
    theta: float

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Architecture:
        """From config.json. Raises ValueError for what this graph does not express."""
        rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
        kind = rope.get("rope_type", rope.get("type", "default"))
        unsupported = {
            f"the model type {config.get('model_type')}": config.get("model_type") != "llama",
            f"the activation {config.get('hidden_act')}": config.get("hidden_act", "silu") != "silu",
            f"rotary embeddings of type {kind}": kind != "default",
            "biases": bool(config.get("attention_bias") or config.get("mlp_bias")),
        }
        for what, present in unsupported.items():
            if present:
                raise ValueError(f"its graph is built for plain Llama models and does not know {what}")
        heads, width = int(config["num_attention_heads"]), int(config["hidden_size"])
        return cls(
            layers=int(config["num_hidden_layers"]),
            width=width,
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head=int(config.get("head_dim") or width // heads),
            vocabulary=int(config["vocab_size"]),
            epsilon=float(config["rms_norm_eps"]),
            theta=float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0),
        )


def weights(model: Path) -> dict[str, NDArray[np.float32]]:
    """Every tensor of the folder's safetensors files as float32 (format: 8-byte header length, JSON header, bytes)."""
    found: dict[str, NDArray[np.float32]] = {}
    for file in sorted(model.glob("*.safetensors")):
        raw = np.memmap(file, mode="r")
        size = int.from_bytes(bytes(raw[:8]), "little")
        header = json.loads(bytes(raw[8 : 8 + size]))
        for name, entry in header.items():
            if name == "__metadata__" or entry["dtype"] not in DTYPES:
                continue
            first, last = (8 + size + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(raw[first:last], DTYPES[entry["dtype"]]).reshape(entry["shape"]).astype(np.float32)
    return found


class _Graph:
    """Nodes in the making; every method answers the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def node(self, kind: str, *inputs: str, to: str = "", **attributes: Any) -> str:
        name = to or f"{kind}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def real(self, x: str) -> str:
        name = f"Cast.{len(self.nodes)}"
        self.nodes.append(helper.make_node("Cast", [x], [name], to=TensorProto.FLOAT))
        return name

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"constant.{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def norm(self, x: str, weight: str, epsilon: float) -> str:
        """x / sqrt(mean(x²) + epsilon) · weight over the last axis (Zhang & Sennrich 2019)."""
        mean = self.node("ReduceMean", self.node("Mul", x, x), self.constant([-1], np.int64), keepdims=1)
        return self.node("Mul", self.node("Div", x, self.node("Sqrt", self.node("Add", mean, self.constant(epsilon)))), weight)

    def linear(self, x: str, weight: str, to: str = "") -> str:
        return self.node("Gemm", x, weight, to=to, transB=1)

    def split_heads(self, x: str, heads: int, head: int) -> str:
        """[n, heads · head] → [heads, n, head]"""
        return self.node("Transpose", self.node("Reshape", x, self.constant([-1, heads, head], np.int64)), perm=[1, 0, 2])

    def rotate(self, x: str, cos: str, sin: str, head: int) -> str:
        """Rotary embedding in the half-split layout: x·cos + (-x₂, x₁)·sin (Su et al. 2021)."""
        axis = self.constant([2], np.int64)
        half, zero, end = (self.constant([value], np.int64) for value in (head // 2, 0, head))
        first, second = self.node("Slice", x, zero, half, axis), self.node("Slice", x, half, end, axis)
        turned = self.node("Concat", self.node("Neg", second), first, axis=2)
        return self.node("Add", self.node("Mul", x, cos), self.node("Mul", turned, sin))

    def repeat(self, x: str, shape: Architecture) -> str:
        """[kv_heads, n, head] → [heads, n, head], each key head serving heads / kv_heads neighbours."""
        times = shape.heads // shape.kv_heads
        if times == 1:
            return x
        wide = self.node("Tile", self.node("Unsqueeze", x, self.constant([1], np.int64)), self.constant([1, times, 1, 1], np.int64))
        return self.node("Reshape", wide, self.constant([shape.heads, -1, shape.head], np.int64))


def build(shape: Architecture, tensors: Mapping[str, tuple[int, ...]]) -> onnx.ModelProto:
    """The model: inputs tokens [n], positions [n], past.<i> [kv_heads, p, head]; outputs logits [n, vocabulary], grown.<i>."""
    graph = _Graph()
    x = graph.node("Gather", "model.embed_tokens.weight", "tokens")
    cos, sin = _angles(graph, shape)
    mask = _mask(graph)
    for layer in range(shape.layers):
        x = _layer(graph, shape, layer, x, cos, sin, mask)
    head = "lm_head.weight" if "lm_head.weight" in tensors else "model.embed_tokens.weight"
    graph.linear(graph.norm(x, "model.norm.weight", shape.epsilon), head, to="logits")
    pasts = range(2 * shape.layers)

    def value(name: str, kind: int, dims: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, dims)

    inputs = [value("tokens", TensorProto.INT64, ["n"]), value("positions", TensorProto.INT64, ["n"])]
    inputs += [value(f"past.{index}", TensorProto.FLOAT, [shape.kv_heads, "p", shape.head]) for index in pasts]
    outputs = [value("logits", TensorProto.FLOAT, ["n", shape.vocabulary])]
    outputs += [value(f"grown.{index}", TensorProto.FLOAT, [shape.kv_heads, "t", shape.head]) for index in pasts]
    used = {name for node in graph.nodes for name in node.input}
    initializers = [*graph.constants, *(_elsewhere(name, dims) for name, dims in tensors.items() if name in used)]
    made = helper.make_graph(graph.nodes, "llama", inputs, outputs, initializers)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="lilong")


def _angles(graph: _Graph, shape: Architecture) -> tuple[str, str]:
    """cos and sin of position · theta^(-2i/head), [n, head], the frequencies twice over."""
    exponents = np.arange(0, shape.head, 2, dtype=np.float32) / np.float32(shape.head)
    frequencies = (1.0 / np.power(np.float32(shape.theta), exponents)).astype(np.float32)
    column = graph.node("Unsqueeze", graph.real("positions"), graph.constant([1], np.int64))
    angles = graph.node("Mul", column, graph.constant(np.concatenate([frequencies, frequencies])[None, :]))
    return graph.node("Cos", angles), graph.node("Sin", angles)


def _mask(graph: _Graph) -> str:
    """[n, p + n]: 0 where a token may look, the lowest float32 where the key lies in its future."""
    zero, one = graph.constant(0, np.int64), graph.constant(1, np.int64)
    length = graph.node("Add", graph.node("ReduceMax", "positions", keepdims=0), one)
    keys = graph.node("Unsqueeze", graph.node("Range", zero, length, one), graph.constant([0], np.int64))
    future = graph.node("Greater", keys, graph.node("Unsqueeze", "positions", graph.constant([1], np.int64)))
    return graph.node("Where", future, graph.constant(np.finfo(np.float32).min), graph.constant(0.0))


def _layer(graph: _Graph, shape: Architecture, layer: int, x: str, cos: str, sin: str, mask: str) -> str:
    name = f"model.layers.{layer}"
    h = graph.norm(x, f"{name}.input_layernorm.weight", shape.epsilon)
    q = graph.split_heads(graph.linear(h, f"{name}.self_attn.q_proj.weight"), shape.heads, shape.head)
    k = graph.split_heads(graph.linear(h, f"{name}.self_attn.k_proj.weight"), shape.kv_heads, shape.head)
    v = graph.split_heads(graph.linear(h, f"{name}.self_attn.v_proj.weight"), shape.kv_heads, shape.head)
    q, k = graph.rotate(q, cos, sin, shape.head), graph.rotate(k, cos, sin, shape.head)
    k = graph.node("Concat", f"past.{2 * layer}", k, to=f"grown.{2 * layer}", axis=1)
    v = graph.node("Concat", f"past.{2 * layer + 1}", v, to=f"grown.{2 * layer + 1}", axis=1)
    k, v = graph.repeat(k, shape), graph.repeat(v, shape)
    scores = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 2, 1]))
    scores = graph.node("Add", graph.node("Mul", scores, graph.constant(shape.head**-0.5)), mask)
    mixed = graph.node("Transpose", graph.node("MatMul", graph.node("Softmax", scores, axis=-1), v), perm=[1, 0, 2])
    flat = graph.node("Reshape", mixed, graph.constant([-1, shape.heads * shape.head], np.int64))
    x = graph.node("Add", x, graph.linear(flat, f"{name}.self_attn.o_proj.weight"))
    h = graph.norm(x, f"{name}.post_attention_layernorm.weight", shape.epsilon)
    gate = graph.linear(h, f"{name}.mlp.gate_proj.weight")
    up = graph.linear(h, f"{name}.mlp.up_proj.weight")
    gated = graph.node("Mul", graph.node("Mul", gate, graph.node("Sigmoid", gate)), up)
    return graph.node("Add", x, graph.linear(gated, f"{name}.mlp.down_proj.weight"))


def _elsewhere(name: str, dims: tuple[int, ...]) -> onnx.TensorProto:
    """A weight whose bytes the session is given from memory; the location is never opened."""
    tensor = onnx.TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights-from-memory")
    tensor.external_data.add(key="offset", value="0")
    tensor.external_data.add(key="length", value=str(4 * int(np.prod(dims, dtype=np.int64))))
    return tensor
