"""The base model's folder: checked, loaded for training, and written out again as a model repository."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer

from lilong.floors.training.contract import UnsafeModelFile, UnsupportedModel
from lilong.floors.training.weights.gguf_file import GgufFile

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM

_PICKLES = {".bin", ".pt", ".pth", ".pkl", ".ckpt"}
_COPIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "LICENSE")
GGUF_NAME = "model-f16.gguf"


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that may be trained: every file is there and none of them can run code."""

    folder: Path
    settings: dict[str, Any]
    """tokenizer_config.json"""
    gguf: GgufFile

    @property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_file(str(self.folder / "tokenizer.json"))

    def load(self) -> LlamaForCausalLM:
        """The model in float32, ready to be trained."""
        import torch
        from transformers import LlamaForCausalLM

        model = LlamaForCausalLM.from_pretrained(
            self.folder, dtype=torch.float32, local_files_only=True, use_safetensors=True, attn_implementation="sdpa"
        )
        model.config.use_cache = False
        model.train()
        return model


def open_base(folder: Path) -> Base:
    """Check a model repository's files. Raises UnsafeModelFile or UnsupportedModel, saying what to bring instead."""
    pickles = sorted(path.name for path in folder.rglob("*") if path.suffix in _PICKLES)
    if pickles:
        raise UnsafeModelFile(pickles[0], "it is a pickle, which can run code when it is read")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise UnsafeModelFile(name, "the base model's revision has no such file")
    try:
        with safe_open(folder / "model.safetensors", "np") as file:
            names = set(file.keys())
    except (SafetensorError, OSError) as problem:
        raise UnsafeModelFile("model.safetensors", f"it is not a safetensors file ({problem})") from problem
    try:
        config = json.loads((folder / "config.json").read_text())
        settings = json.loads((folder / "tokenizer_config.json").read_text())
    except ValueError as problem:
        raise UnsafeModelFile("config.json", f"it is not JSON ({problem})") from problem
    if "auto_map" in config:
        raise UnsafeModelFile("config.json", "its 'auto_map' asks for code to be run")
    if config.get("model_type") != "llama":
        raise UnsupportedModel("config.json", f"its model_type is {config.get('model_type')!r}")
    if "model.embed_tokens.weight" not in names:
        raise UnsupportedModel("model.safetensors", "it has no 'model.embed_tokens.weight'")
    ggufs = sorted(folder.glob("*.gguf"))
    if not ggufs:
        raise UnsupportedModel("*.gguf", "the revision has no GGUF to take llama.cpp's metadata from")
    return Base(folder, settings, GgufFile(ggufs[0]))


def parameters(model: LlamaForCausalLM) -> dict[str, Tensor]:
    """Trained tensors by name; a tied output layer is left out."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def write_model(base: Base, model: LlamaForCausalLM, out: Path, name: str) -> None:
    """Write config, tokenizer, licence, float32 safetensors and an F16 GGUF of `model` into `out`."""
    from safetensors.torch import save_file

    out.mkdir(parents=True, exist_ok=True)
    for file in _COPIED:
        if (base.folder / file).is_file():
            shutil.copyfile(base.folder / file, out / file)
    tensors = {key: value.contiguous() for key, value in parameters(model).items()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)
    base.gguf.write_f16(out / GGUF_NAME, {key: value.numpy() for key, value in tensors.items()}, {"general.name": name})
