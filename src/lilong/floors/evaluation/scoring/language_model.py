"""A causal language model in this process, asked for nothing but log-likelihoods (torch, transformers).

Batches hold texts of equal or similar length in an order fixed by the texts alone, so a second run forms the same batches. In fp32
another batch shape moves a sum of log-likelihoods by about 1e-5 nats a token; scores are therefore compared by value, never by bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lilong.floors.evaluation.contract import DTYPES
from lilong.floors.evaluation.rules import canonical
from lilong.ground.blobs import digest_of, digest_of_file
from lilong.ground.errors import BadInput

WEIGHTS = "*.safetensors"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt", "tokenizer.model")


class UnusableModel(BadInput):
    """The model in '{folder}' cannot be scored: {problem}. Give a transformers folder with config.json, tokenizer and safetensors."""


def folder_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that decides a score: weights, configuration, tokenizer."""
    names = ["config.json", *TOKENIZER_FILES, "model.safetensors.index.json"]
    paths = sorted({*(folder / name for name in names if (folder / name).is_file()), *folder.glob(WEIGHTS)})
    if not any(path.match(WEIGHTS) for path in paths) or not (folder / "config.json").is_file():
        raise UnusableModel(folder=folder.name, problem="config.json or the weights are missing")
    return {path.name: digest_of_file(path).digest for path in paths}


def files_digest(files: Mapping[str, str]) -> str:
    """One digest for what `folder_files` found."""
    return digest_of(canonical(dict(files)))


class LanguageModel:
    """Weights and tokenizer of one folder. Loading executes no code of the model's and reads safetensors only."""

    def __init__(self, folder: Path, dtype: str = "float32") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # the job tells its progress itself
        if dtype not in DTYPES:
            raise BadInput(field="dtype", problem=f"'{dtype}' is not one of {', '.join(DTYPES)}", way_out="Use float32.")
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, **local)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True, **local)
        except (OSError, ValueError, KeyError) as error:
            raise UnusableModel(folder=folder.name, problem=str(error).splitlines()[0]) from error
        self.model = model.eval()
        self.window = int(getattr(model.config, "max_position_embeddings", None) or 2048)
        begin = self.tokenizer.bos_token_id
        end = self.tokenizer.eos_token_id
        if begin is None and end is None:
            raise UnusableModel(
                folder=folder.name, problem="its tokenizer has neither a begin nor an end token to condition the first token on"
            )
        self.first_token: int = begin if begin is not None else end
        """What the first token of a text is conditioned on: the begin token, or else the end token. Never scored itself."""

    def encode(self, text: str) -> list[int]:
        """Token ids without special tokens; text that looks like a special token is taken as that token, as training does."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def token_log_probabilities(self, conditions: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> list[list[float]]:
        """Nats of each target token given its condition and the target's earlier tokens, in one padded batch.

        A condition has ≥ 1 token, a target ≥ 1. Padding stands on the right, where causal attention never looks back at it.
        """
        rows = [[*condition, *target[:-1]] for condition, target in zip(conditions, targets, strict=True)]
        longest = max(map(len, rows))
        inputs = torch.zeros((len(rows), longest), dtype=torch.long)
        for index, row in enumerate(rows):
            inputs[index, : len(row)] = torch.tensor(row)
        logits = self.model(input_ids=inputs, use_cache=False).logits
        found = []
        for index, (condition, target) in enumerate(zip(conditions, targets, strict=True)):
            start = len(condition) - 1
            found.append(_chosen(logits[index, start : start + len(target)], torch.tensor(list(target))).tolist())
        return found

    @torch.inference_mode()  # type: ignore[untyped-decorator, unused-ignore]
    def continuation_log_likelihoods(
        self, contexts: Sequence[Sequence[int]], continuations: Sequence[Sequence[Sequence[int]]]
    ) -> list[list[float]]:
        """Nats of every continuation of every context; contexts are all of one length, and each is computed once.

        The contexts' keys and values are kept and repeated for their continuations, which are padded on the right.
        """
        first = self.model(input_ids=torch.tensor([list(context) for context in contexts]), use_cache=True, logits_to_keep=1)
        opening = [first.logits[index, -1:].expand(len(tails), -1) for index, tails in enumerate(continuations)]
        scores: list[list[float]] = [
            _chosen(logits, torch.tensor([tail[0] for tail in tails])).tolist()
            for logits, tails in zip(opening, continuations, strict=True)
        ]
        rows = [(index, place, tail) for index, tails in enumerate(continuations) for place, tail in enumerate(tails) if len(tail) > 1]
        if not rows:
            return scores
        cache = first.past_key_values
        cache.batch_select_indices(torch.tensor([index for index, _, _ in rows]))
        longest = max(len(tail) for _, _, tail in rows) - 1
        inputs = torch.zeros((len(rows), longest), dtype=torch.long)
        for number, (_, _, tail) in enumerate(rows):
            inputs[number, : len(tail) - 1] = torch.tensor(list(tail[:-1]))
        logits = self.model(input_ids=inputs, past_key_values=cache, use_cache=True).logits
        for number, (index, place, tail) in enumerate(rows):
            scores[index][place] += float(_chosen(logits[number, : len(tail) - 1], torch.tensor(list(tail[1:]))).sum())
        return scores


def _chosen(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Log-probability of `tokens` (length) under `logits` (length x vocabulary), in float32 and summed in float64."""
    scores = logits.float()
    picked = scores.gather(-1, tokens[:, None])[:, 0] - scores.logsumexp(-1)
    return picked.double()
