"""llama.cpp in this process, asked for whole next-token distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xllamacpp


class LlamaCpp:
    def __init__(self, model: Path, *, context: int = 256) -> None:
        params = xllamacpp.CommonParams()
        params.model.path = str(model)
        params.n_ctx = context
        params.n_parallel = 1
        params.cpuparams.n_threads = 1
        params.cpuparams_batch.n_threads = 1
        params.warmup = False
        self._server = xllamacpp.Server(params)

    def log_probabilities(self, tokens: Sequence[int], vocabulary: int) -> np.ndarray[Any, Any] | None:
        """Natural logarithms over the vocabulary for the token after `tokens`; None where that token is part of a
        character: the server then holds it back."""
        ask = {"prompt": list(tokens), "max_tokens": 1, "logprobs": vocabulary, "temperature": 0.0}
        told = self._server.handle_completions(ask)["choices"][0]["logprobs"]
        if told is None:
            return None
        top = told["content"][0]["top_logprobs"]
        found = np.full(vocabulary, -np.inf)
        for entry in top:
            found[entry["id"]] = entry["logprob"]
        return found - np.logaddexp.reduce(found)  # the server adds up in float32, and is off by 1e-4 over 49,152 tokens


def torch_log_probabilities(model: Any, tokenizer: Any, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """Per text (tokens, vocabulary): log-probabilities of the next token after each prefix, in float64."""
    found = []
    with torch.no_grad():
        for text in texts:
            logits = model(torch.tensor([tokenizer(text).input_ids])).logits[0]
            found.append(torch.log_softmax(logits.double(), -1).numpy())
    return found


def agreement(
    reference: list[np.ndarray[Any, Any]], llama: LlamaCpp, tokenizer: Any, texts: Sequence[str], every: int = 1
) -> tuple[float, float]:
    """(share of prefixes with the same most likely token, mean KL divergence in nats) of llama.cpp from the reference, at every n-th token."""
    same, divergences = [], []
    for rows, text in zip(reference, texts, strict=True):
        ids = tokenizer(text).input_ids
        for length in range(1, len(ids) + 1, every):
            expected, found = rows[length - 1], llama.log_probabilities(ids[:length], rows.shape[1])
            if found is None:
                continue
            same.append(expected.argmax() == found.argmax())
            divergences.append(float((np.exp(expected) * (expected - found)).sum()))
    return float(np.mean(same)), float(np.mean(divergences))
