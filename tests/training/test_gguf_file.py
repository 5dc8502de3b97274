from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from tests.training.tiny import GGUF_NAME, make_tiny_base

from lilong.floors.training.contract import TrainingDiverged, UnsafeModelFile, UnsupportedModel
from lilong.floors.training.weights.gguf_file import GgufFile, from_llama_cpp, to_llama_cpp, transformers_name


@given(heads=st.integers(1, 6), half=st.integers(1, 5), columns=st.integers(1, 4))
def test_turning_rows_to_llama_cpp_and_back_changes_nothing(heads: int, half: int, columns: int) -> None:
    rows = np.arange(heads * half * 2 * columns).reshape(heads * half * 2, columns)
    assert (from_llama_cpp(to_llama_cpp(rows, heads), heads) == rows).all()
    assert (to_llama_cpp(from_llama_cpp(rows, heads), heads) == rows).all()


def test_rotary_pairs_that_lie_apart_in_transformers_lie_together_in_llama_cpp() -> None:
    rows = np.arange(8)[:, None]  # two heads of width 4: the pairs are (0, 2) and (1, 3)
    assert to_llama_cpp(rows, 2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_every_tensor_of_a_llama_has_a_name_in_transformers() -> None:
    assert transformers_name("blk.12.attn_k.weight") == "model.layers.12.self_attn.k_proj.weight"
    assert transformers_name("output_norm.weight") == "model.norm.weight"
    assert transformers_name("blk.0.ffn_gate_exps.weight") is None
    assert transformers_name("blk.0.attn_k.bias") is None


def test_weights_written_as_f16_come_back_to_half_precision(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    GgufFile(base / GGUF_NAME).write_f16(tmp_path / "new.gguf", weights, {"general.name": "New"})
    written = GgufFile(tmp_path / "new.gguf")
    assert (written.value("general.name"), written.value("general.file_type")) == ("New", 1)
    assert set(written.tensor_types) == {"F16", "F32"}
    again = dict(written.weights())
    assert again.keys() == weights.keys()
    assert all((again[name] == value.astype(np.float16 if value.ndim > 1 else np.float32)).all() for name, value in weights.items())


def test_the_tokenizer_goes_into_a_new_gguf_unchanged(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    old = GgufFile(base / GGUF_NAME)
    old.write_f16(tmp_path / "new.gguf", load_file(base / "model.safetensors"), {})
    new = GgufFile(tmp_path / "new.gguf")
    for key in ("tokens", "merges", "token_type", "model", "pre", "eos_token_id"):
        assert new.value(f"tokenizer.ggml.{key}") == old.value(f"tokenizer.ggml.{key}")


def test_weights_that_do_not_fit_into_f16_are_refused(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"] = weights["model.layers.0.mlp.up_proj.weight"] * np.float32(1e8)
    with pytest.raises(TrainingDiverged, match="up_proj"):
        GgufFile(base / GGUF_NAME).write_f16(tmp_path / "new.gguf", weights, {})


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    weights = load_file(base / "model.safetensors")
    del weights["model.norm.weight"]
    with pytest.raises(UnsupportedModel, match=r"model\.norm\.weight"):
        GgufFile(base / GGUF_NAME).write_f16(tmp_path / "new.gguf", weights, {})


@pytest.mark.parametrize("keep", [3, 4, 20, 200, 5000])
def test_a_gguf_that_was_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    whole = (make_tiny_base(tmp_path / "base") / GGUF_NAME).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:keep])
    with pytest.raises((UnsafeModelFile, UnsupportedModel)):
        list(GgufFile(tmp_path / "cut.gguf").weights())
