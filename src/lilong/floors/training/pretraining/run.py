"""One training job from its folders to its result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.training.pretraining.environment import TRAINING, code_digest, code_listing, environment
from lilong.floors.training.pretraining.model import GGUF_NAME, open_base, write_model
from lilong.floors.training.pretraining.passages import Passages, Source, check_enough
from lilong.floors.training.pretraining.recipe import Recipe
from lilong.floors.training.pretraining.reporting import Meter, Tell
from lilong.floors.training.pretraining.shards import FOLDER, Shards
from lilong.floors.training.weights.base_model import file_digest
from lilong.floors.training.weights.card import trained_card
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    from lilong.floors.training.pretraining.loop import Trained

_REFERENCE: dict[str, str] = {"reference": "", "revision": ""}


def run(base: Path, corpus: Path, out: Path, state: Path, spec: Mapping[str, Any], tell: Tell, meter: Meter) -> dict[str, Any]:
    """Train as `spec` says and fill `out` with a model repository's files; returns the job's result.

    `spec`: `name`, `recipe` (see Recipe), and for the card `base` and `corpus` ({reference, revision} each) and `licence`.
    """
    recipe = Recipe.parse(spec.get("recipe", {}))
    opened = open_base(base)
    licence = str(spec.get("licence") or opened.gguf.value("general.license") or "").lower()
    if not licence:
        raise BadInput(field="licence", problem="the base model names none", way_out="Pass `licence` with an SPDX identifier.")
    tell(0, "reading the corpus", {})
    passages = _source(base, corpus, recipe)
    estimated = check_enough(passages, opened.tokenizer, recipe)
    from lilong.floors.training.pretraining.loop import train  # torch takes seconds to load: what cannot be trained is refused before

    identity = _identity(base, corpus, recipe)
    trained = train(opened, passages, recipe, state, identity, tell, meter)
    tell(recipe.steps, "writing the model", {})
    name = str(spec.get("name") or "model")
    write_model(opened, trained.model, out, name)
    (out / "loss.jsonl").write_text("".join(json.dumps(row) + "\n" for row in trained.training.losses))
    (out / "code.txt").write_bytes(code_listing())
    result = _result(spec, recipe, passages, estimated, trained, name, licence)
    (out / "README.md").write_text(trained_card(result))
    result["files"] = {path.name: file_digest(path) for path in sorted(out.iterdir()) if path.name != "result.json"}
    return result


def _source(base: Path, corpus: Path, recipe: Recipe) -> Source:
    if recipe.read == "tokens":
        return Shards(corpus, recipe.passage_tokens, base / "tokenizer.json")
    return Passages(corpus, recipe.passage_characters)


def finished(state: Path) -> None:
    """Drop the checkpoints: the result is written."""
    from lilong.floors.training.pretraining import checkpoint

    checkpoint.clear(state)


def _result(
    spec: Mapping[str, Any], recipe: Recipe, passages: Source, estimated: int, trained: Trained, name: str, licence: str
) -> dict[str, Any]:
    training, place = trained.training, trained.training.place
    read = place.epoch * len(passages) + place.passage + (place.token > 0)
    common = sorted(passages.languages.items(), key=lambda item: -item[1])
    return {
        "name": name,
        "licence": licence,
        "base": {**_REFERENCE, **spec.get("base", {})},
        "corpus": {
            **_REFERENCE,
            **spec.get("corpus", {}),
            "documents": passages.documents,
            "characters": passages.total_characters,
            "estimated_tokens": estimated,
            "languages": [language for language, count in common if count * 100 >= passages.documents],
        },
        "recipe": recipe.as_json(),
        "seed": recipe.seed,
        "steps": recipe.steps,
        "tokens": recipe.steps * recipe.tokens_per_step,
        "passages": read,
        "epochs": round(read / len(passages), 4),
        "first_loss": training.losses[0]["loss"],
        "last_loss": training.losses[-1]["loss"],
        "wall_s": round(training.wall_s, 2),
        "cpu_s": round(training.cpu_s, 2),
        "resumed_at": training.resumed_at,
        "parameters": sum(parameter.numel() for parameter in trained.model.parameters()),
        "gguf": GGUF_NAME,
        "code_digest": code_digest(),
        "environment": environment(TRAINING, recipe.threads),
    }


def _identity(base: Path, corpus: Path, recipe: Recipe) -> str:
    """What a checkpoint belongs to: the weights, the text and the recipe, by digest."""
    digest = hashlib.sha256(json.dumps(recipe.as_json(), sort_keys=True).encode())
    read = (corpus / FOLDER).iterdir() if recipe.read == "tokens" else (corpus / "data").glob("train-*.parquet")
    for path in (base / "model.safetensors", base / "tokenizer.json", *sorted(read)):
        digest.update(f"\n{path.name} {file_digest(path)}".encode())
    return f"sha256:{digest.hexdigest()}"
