"""The training loop: forward, backward, step, tell, and every few steps a checkpoint from which the same losses follow."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from lilong.floors.training.contract import CheckpointDamaged, TrainingDiverged
from lilong.floors.training.pretraining import checkpoint
from lilong.floors.training.pretraining.loss import linear_cross_entropy
from lilong.floors.training.pretraining.model import Base, parameters
from lilong.floors.training.pretraining.passages import Place, Source, TokenStream, separator_token
from lilong.floors.training.pretraining.recipe import Recipe
from lilong.floors.training.pretraining.reporting import Meter, Row, Tell


@dataclass(slots=True)
class Training:
    """A training under way: what a checkpoint keeps besides the weights and the optimiser's moments."""

    losses: list[Row] = field(default_factory=list)
    """One row a step: step (from 1), loss (nats per token), learning_rate, gradient_norm, tokens (so far), seconds (of this step)."""
    place: Place = field(default_factory=Place)
    wall_s: float = 0.0
    cpu_s: float = 0.0
    resumed_at: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Trained:
    model: LlamaForCausalLM
    training: Training


def train(base: Base, passages: Source, recipe: Recipe, state: Path, identity: str, tell: Tell, meter: Meter) -> Trained:
    """Carry out `recipe`, going on from the checkpoint in `state` if it was made by a training of the same `identity`.

    Raises TrainingDiverged, CheckpointDamaged. With the same threads, an interrupted training gives the same
    losses and the same weights as an uninterrupted one.
    """
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(recipe.seed)
    tokenizer = base.tokenizer
    tell(0, "loading the base model", {})
    model = base.load()
    optimiser = _optimiser(model, recipe)
    training = _resume(state, model, optimiser, identity)
    stream = TokenStream(passages, tokenizer, separator_token(tokenizer, base.settings), recipe.seed, training.place)
    begun = (meter.wall() - training.wall_s, meter.cpu() - training.cpu_s)
    for step in range(len(training.losses), recipe.steps):
        started = meter.wall()
        row = _step(model, optimiser, stream, recipe, step)
        row["seconds"] = round(meter.wall() - started, 3)
        training.losses.append(row)
        training.place = stream.place
        training.wall_s, training.cpu_s = meter.wall() - begun[0], meter.cpu() - begun[1]
        tell(step + 1, "training", {key: value for key, value in row.items() if key != "step"})
        if (step + 1) % recipe.checkpoint_every == 0 and step + 1 < recipe.steps:
            _keep(state, model, optimiser, training, identity)
    return Trained(model, training)


def _step(model: LlamaForCausalLM, optimiser: torch.optim.AdamW, stream: TokenStream, recipe: Recipe, step: int) -> Row:
    block = torch.from_numpy(stream.take(recipe.tokens_per_step))
    inputs, targets = block[:-1].view(recipe.rows, -1), block[1:].view(recipe.rows, -1)
    rate = recipe.rate(step)
    for group in optimiser.param_groups:
        group["lr"] = rate
    total = 0.0
    for start in range(0, recipe.rows, recipe.rows_at_once):
        part = slice(start, start + recipe.rows_at_once)
        loss = _loss(model, inputs[part], targets[part], recipe) * (len(inputs[part]) / recipe.rows)
        total += loss.item()
        if not math.isfinite(total):
            raise TrainingDiverged(loss=total, step=step + 1, learning_rate=recipe.learning_rate)
        loss.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_clip))
    if not math.isfinite(norm):
        raise TrainingDiverged(loss=f"{total}, with a gradient of norm {norm}", step=step + 1, learning_rate=recipe.learning_rate)
    optimiser.step()
    optimiser.zero_grad()
    tokens = (step + 1) * recipe.tokens_per_step
    return {"step": step + 1, "loss": total, "learning_rate": rate, "gradient_norm": norm, "tokens": tokens}


def _loss(model: LlamaForCausalLM, inputs: torch.Tensor, targets: torch.Tensor, recipe: Recipe) -> torch.Tensor:
    """Mean next-token loss in nats; inputs and targets (rows, sequence length)."""
    dtype = torch.bfloat16 if recipe.format == "bf16-autocast" else torch.float32
    with torch.autocast("cpu", dtype) if dtype is torch.bfloat16 else contextlib.nullcontext():
        hidden = model.model(input_ids=inputs, use_cache=False).last_hidden_state
    return linear_cross_entropy(hidden.flatten(0, 1), model.lm_head.weight, targets.flatten(), dtype)


def _optimiser(model: LlamaForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; norms' gains (vectors) are not decayed."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True)


def _keep(state: Path, model: LlamaForCausalLM, optimiser: torch.optim.AdamW, training: Training, identity: str) -> None:
    tensors = {}
    for name, parameter in model.named_parameters():
        moments = optimiser.state[parameter]
        tensors[f"weight:{name}"] = parameter.detach()
        tensors[f"first:{name}"], tensors[f"second:{name}"] = moments["exp_avg"], moments["exp_avg_sq"]
    known = {
        "identity": identity,
        "losses": training.losses,
        "place": training.place.as_json(),
        "wall_s": training.wall_s,
        "cpu_s": training.cpu_s,
        "resumed_at": training.resumed_at,
    }
    checkpoint.save(state, len(training.losses), known, tensors)


def _resume(state: Path, model: LlamaForCausalLM, optimiser: torch.optim.AdamW, identity: str) -> Training:
    found = checkpoint.latest(state)
    if found is None:
        return Training()
    known = found.state
    if known.get("identity") != identity:
        checkpoint.clear(state)  # of another training: this one begins at its beginning
        return Training()
    try:
        with torch.no_grad():
            for name, parameter in parameters(model).items():
                parameter.copy_(found.tensors[f"weight:{name}"])
        for name, parameter in model.named_parameters():
            optimiser.state[parameter] = {
                "step": torch.tensor(float(found.step)),
                "exp_avg": found.tensors[f"first:{name}"].clone(),
                "exp_avg_sq": found.tensors[f"second:{name}"].clone(),
            }
    except (KeyError, RuntimeError) as problem:
        raise CheckpointDamaged(place=f"of step {found.step}", problem=str(problem)) from problem
    return Training(known["losses"], Place(**known["place"]), known["wall_s"], known["cpu_s"], [*known["resumed_at"], found.step])
