"""llama.cpp in this process, asked for whole next-token distributions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
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

    def log_probabilities(self, tokens: Sequence[int], vocabulary: int) -> np.ndarray[Any, Any]:
        """Natural logarithms over the vocabulary for the token after `tokens`."""
        ask = {"prompt": list(tokens), "max_tokens": 1, "logprobs": vocabulary, "temperature": 0.0}
        top = self._server.handle_completions(ask)["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        found = np.full(vocabulary, -np.inf)
        for entry in top:
            found[entry["id"]] = entry["logprob"]
        return found
