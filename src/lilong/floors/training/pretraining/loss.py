"""Cross-entropy straight from the last hidden state: the logits of all tokens never stand in memory in float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_ROWS = 128  # 128 rows of 49,152 float32 logits are 25 MB


class _LinearCrossEntropy(torch.autograd.Function):  # type: ignore[misc]
    """Mean of -log softmax(hidden @ weight.T)[target], with both gradients computed on the way forward.

    The same numbers as `cross_entropy(lm_head(hidden).float(), target)` under autocast: products in `dtype`, softmax in float32,
    gradient of the logits in `dtype`. Only one copy of the logits is held, in `dtype`, and it turns into its gradient in place.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
        count = hidden.shape[0]
        low_hidden, low_weight = hidden.to(dtype), weight.to(dtype)
        logits = torch.empty(count, weight.shape[0], dtype=dtype)
        loss = torch.zeros((), dtype=torch.float32)
        for start in range(0, count, _ROWS):
            part, wanted = logits[start : start + _ROWS], target[start : start + _ROWS, None]
            torch.mm(low_hidden[start : start + _ROWS], low_weight.T, out=part)
            log_p = torch.log_softmax(part, -1, dtype=torch.float32)
            loss -= log_p.gather(1, wanted).sum()
            gradient = log_p.exp_().scatter_add_(1, wanted, torch.full(wanted.shape, -1.0))
            part.copy_(gradient.mul_(1 / count))
        ctx.save_for_backward((logits @ low_weight).to(hidden.dtype), (logits.T @ low_hidden).to(weight.dtype))
        return loss / count

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor, Tensor, None, None]:
        for_hidden, for_weight = ctx.saved_tensors
        return for_hidden * above[0], for_weight * above[0], None, None


def linear_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean negative log-likelihood in nats; hidden (n, width), weight (vocabulary, width), target (n,) int64. Only in training."""
    loss: Tensor = _LinearCrossEntropy.apply(hidden, weight, target, dtype)
    return loss
