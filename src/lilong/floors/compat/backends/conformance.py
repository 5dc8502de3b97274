"""What every adapter must keep, as a check that ships: run it on a new adapter before believing its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lilong.floors.compat.contract import DeviceUnderTest, Probe
from lilong.ground.errors import LilongError

LOOSE = 0.05  # logits; far above what any format's rounding moves between two ways to compute the same thing


class NotConforming(LilongError):
    """The adapter {stack} breaks its contract: {problem}."""


def check(device: DeviceUnderTest, model: Path, tokens: Sequence[int], *, loose: float = LOOSE) -> Probe:
    """Load `model` and hold the device to its Protocol with at least four `tokens`. Raises NotConforming."""
    probe = device.load(model, 1)

    def hold(kept: bool, problem: str) -> None:
        if not kept:
            raise NotConforming(stack=probe.stack, problem=problem)

    hold(bool(probe.name and probe.version and probe.weights), "its probe names no software, version or weight format")
    whole = device.logits(tokens)
    hold(whole.dtype == np.float32 and whole.ndim == 2 and len(whole) == len(tokens), "logits are not float32 [tokens, vocabulary]")
    hold(bool(np.isfinite(whole).all()), "logits are not finite")
    part = device.logits(tokens[:-2])
    hold(bool(np.abs(part - whole[:-2]).max() <= loose), "a token's logits depend on tokens that come after it, or on the call before")
    chosen, rows = device.greedy(tokens, 3)
    hold(len(chosen) == 3 and rows.shape == (3, whole.shape[1]), "a greedy continuation has another length than was asked for")
    hold([int(row.argmax()) for row in rows] == chosen, "a greedy token is not the arg max of its own logits")
    hold(bool(np.abs(rows[0] - whole[-1]).max() <= loose), "decoding step by step gives other logits than reading the whole text")
    forced = device.logits([*tokens, *chosen[:2]])
    hold(bool(np.abs(forced[-1] - rows[2]).max() <= loose), "the cache of a continuation gives other logits than reading it anew")
    none, empty = device.greedy(tokens, 0)
    hold(none == [] and len(empty) == 0, "asked for no tokens it gives some")
    ids = device.tokenize("one gate, one well")
    hold(ids is None or (len(ids) > 0 and max(ids) < whole.shape[1]), "its token ids do not fit its vocabulary")
    return probe
