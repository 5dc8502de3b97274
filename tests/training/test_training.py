from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file
from tests.training.corpora import make_corpus
from tests.training.llama import LlamaCpp, agreement, torch_log_probabilities
from tests.training.tiny import SENTENCES, make_tiny_base
from transformers import AutoModelForCausalLM, AutoTokenizer

from lilong.floors.training.contract import CheckpointDamaged, TrainingDiverged, UnsafeModelFile, UnsupportedModel
from lilong.floors.training.pretraining import checkpoint
from lilong.floors.training.pretraining.loss import linear_cross_entropy
from lilong.floors.training.pretraining.model import GGUF_NAME, open_base
from lilong.floors.training.pretraining.reporting import Meter
from lilong.floors.training.pretraining.run import run

RECIPE = {
    "steps": 6,
    "tokens_per_step": 256,
    "sequence_length": 64,
    "learning_rate": 1e-3,
    "warmup": 1,
    "passage_characters": 128,
    "checkpoint_every": 2,
    "threads": 1,
    "seed": 7,
}
METER = Meter(lambda: 0.0, lambda: 0.0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def trained(base: Path, corpus: Path, folder: Path, stop_after: int | None = None, **changes: Any) -> dict[str, Any]:
    """Run a training in `folder`; with `stop_after`, break off when that step has been told."""

    def tell(step: int, doing: str, figures: dict[str, float]) -> None:
        if stop_after is not None and step == stop_after and doing == "training":
            raise KeyboardInterrupt

    spec = {"name": "Trained", "recipe": RECIPE | changes, "base": {"reference": "house/base", "revision": "b" * 40}}
    return run(base, corpus, folder / "out", folder / "state", spec, tell, METER)


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "out" / "loss.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    (folder / "result.json").write_text(json.dumps(trained(base, corpus, folder)))
    return folder


def test_the_loss_falls(uninterrupted: Path) -> None:
    assert losses(uninterrupted)[-1] < losses(uninterrupted)[0] - 0.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_fused_loss_equals_cross_entropy_over_all_logits(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, hidden = torch.randn(500, 32) / 6, torch.randn(300, 32)
    target = torch.randint(0, 500, (300,))
    found = []
    for fused in (True, False):
        h, w = hidden.clone().requires_grad_(), weight.clone().requires_grad_()
        loss = (
            linear_cross_entropy(h, w, target, dtype)
            if fused
            else torch.nn.functional.cross_entropy((h.to(dtype) @ w.to(dtype).T).float(), target)
        )
        (loss * 3).backward()
        found.append((loss.detach(), h.grad, w.grad))
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None
        assert (one - other).norm() <= (5e-3 if dtype is torch.bfloat16 else 1e-5) * other.norm()


@pytest.mark.parametrize("stop_after", [1, 3, 6])
def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    base: Path, corpus: Path, tmp_path: Path, uninterrupted: Path, stop_after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(base, corpus, tmp_path, stop_after)
    result = trained(base, corpus, tmp_path)
    assert losses(tmp_path) == losses(uninterrupted)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (uninterrupted / "out" / "model.safetensors").read_bytes()
    assert result["resumed_at"] == ([stop_after - 1 - (stop_after - 1) % 2] if stop_after > 2 else [])


def test_a_training_killed_with_kill_9_goes_on_from_its_checkpoint(base: Path, corpus: Path, tmp_path: Path, uninterrupted: Path) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    shutil.copytree(base, inputs / "base")
    shutil.copytree(corpus, inputs / "corpus")
    spec = {"name": "Trained", "recipe": RECIPE, "base": {"reference": "house/base", "revision": "b" * 40}}
    (inputs / "spec.json").write_text(json.dumps(spec))
    for folder in ("out", "state"):
        (tmp_path / folder).mkdir()
    environment = os.environ | {"LILONG_IN": str(inputs), "LILONG_OUT": str(tmp_path / "out"), "LILONG_STATE": str(tmp_path / "state")}
    argv = [sys.executable, "-m", "lilong.floors.training.work", "train"]
    first = subprocess.Popen(argv, env=environment)
    while first.poll() is None and not list((tmp_path / "state").glob("checkpoint-*")):
        time.sleep(0.002)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert subprocess.run(argv, env=environment, check=False).returncode == 0
    assert losses(tmp_path) == losses(uninterrupted)
    assert json.loads((tmp_path / "out" / "result.json").read_text())["steps"] == 6
    assert not list((tmp_path / "state").glob("*checkpoint*"))


def test_gradients_added_up_over_rows_give_the_same_step(base: Path, corpus: Path, tmp_path: Path, uninterrupted: Path) -> None:
    trained(base, corpus, tmp_path, rows_at_once=1)
    assert losses(tmp_path) == pytest.approx(losses(uninterrupted), rel=2e-3)


def test_another_recipe_does_not_go_on_from_an_old_checkpoint(base: Path, corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(base, corpus, tmp_path, stop_after=3)
    assert trained(base, corpus, tmp_path, seed=8)["resumed_at"] == []


def test_a_half_written_checkpoint_is_not_seen(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 2, {"a": 1}, {"x": torch.ones(3)})
    (tmp_path / ".checkpoint-00000004.part").mkdir()
    (tmp_path / ".checkpoint-00000004.part" / "tensors.safetensors").write_bytes(b"half")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert (found.step, found.state["a"], found.tensors["x"].tolist()) == (2, 1, [1, 1, 1])


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, 2, {}, {"x": torch.ones(3)})
    (path / "tensors.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(CheckpointDamaged, match="checkpoint-00000002"):
        checkpoint.latest(tmp_path)


def test_the_new_gguf_and_the_new_safetensors_are_one_model(uninterrupted: Path) -> None:
    out = uninterrupted / "out"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    texts = [*SENTENCES[:2], SENTENCES[5], "unseen 42 words!"]
    same, divergence = agreement(torch_log_probabilities(model, tokenizer, texts), LlamaCpp(out / GGUF_NAME), tokenizer, texts)
    assert same > 0.95
    assert divergence < 1e-4


def test_a_trained_model_can_be_trained_again(uninterrupted: Path, corpus: Path, tmp_path: Path) -> None:
    again = trained(uninterrupted / "out", corpus, tmp_path, steps=2)
    assert again["first_loss"] < json.loads((uninterrupted / "result.json").read_text())["first_loss"]


def test_weights_stay_float32_and_the_output_stays_tied(uninterrupted: Path) -> None:
    tensors = load_file(uninterrupted / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert "lm_head.weight" not in tensors


def test_the_result_and_the_card_say_what_it_came_from(uninterrupted: Path) -> None:
    result = json.loads((uninterrupted / "result.json").read_text())
    assert result["tokens"] == 6 * 256
    assert result["code_digest"].startswith("sha256:")
    assert result["environment"]["packages"]["torch"]
    card = ModelCard.load(uninterrupted / "out" / "README.md")
    assert card.data.base_model == "house/base"
    assert result["code_digest"] in card.text


def test_a_loss_that_is_not_finite_ends_the_training(base: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"] *= 1e38
    save_file(tensors, tmp_path / "base" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(TrainingDiverged, match="learning rate"):
        trained(tmp_path / "base", corpus, tmp_path)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "old/weights.pt"])
def test_a_base_with_a_pickle_is_refused(base: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "base" / name).write_bytes(b"\x80\x04.")
    with pytest.raises(UnsafeModelFile, match="pickle"):
        open_base(tmp_path / "base")


def test_a_pickle_called_safetensors_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    torch.save({"x": torch.ones(2)}, tmp_path / "base" / "model.safetensors")
    with pytest.raises(UnsafeModelFile, match="not a safetensors file"):
        open_base(tmp_path / "base")


def test_a_configuration_that_brings_code_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(UnsafeModelFile, match="code"):
        open_base(tmp_path / "base")


def test_another_architecture_is_refused(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    (tmp_path / "base" / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(UnsupportedModel, match="mamba"):
        open_base(tmp_path / "base")
