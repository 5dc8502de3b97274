"""Devices that are broken on purpose, for the suite's self-test: each is the torch reference with one fault."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lilong.floors.compat.backends.torch_cpu import TorchDevice
from lilong.floors.compat.contract import REFERENCE, DeviceRefused, Probe, StackName

Logits = NDArray[np.float32]

SCALE = 1.03


class FaultyDevice(TorchDevice):
    """`faulty-<fault>`: shift (logits of the token before), layer (one is skipped), scale (logits 3 % too large), nan, tokenizer, refuse, crash, hang, oom.

    The last three come with the second text, so that what was answered before them must survive.
    """

    def __init__(self, stack: StackName) -> None:
        super().__init__(REFERENCE)
        self.stack = stack
        self.fault = stack.removeprefix("faulty-")
        self.asked = 0

    def load(self, model: Path, threads: int) -> Probe:
        if self.fault == "refuse":
            raise DeviceRefused(stack=self.stack, problem="it declares that it cannot run this architecture")
        probe = super().load(model, threads)
        if self.fault == "layer":
            layers = self.model.model.layers
            middle = len(layers) // 2
            layers[middle].self_attn.o_proj.weight.data.zero_()
            layers[middle].mlp.down_proj.weight.data.zero_()
        return probe

    def tokenize(self, text: str) -> list[int] | None:
        return [0] * len(text) if self.fault == "tokenizer" else super().tokenize(text)

    def logits(self, tokens: Sequence[int]) -> Logits:
        self.asked += 1
        if self.asked == 2:
            self._break()
        answer = super().logits(tokens)
        if self.fault == "shift":
            answer = np.roll(answer, 1, axis=0)
        if self.fault == "scale":
            answer *= np.float32(SCALE)
        if self.fault == "nan":
            answer[len(answer) // 2, 0] = np.nan
        return answer

    def _break(self) -> None:
        if self.fault == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        while self.fault == "hang":
            time.sleep(3600)
        if self.fault == "oom":
            torch.empty(1 << 60)


def open_device(stack: StackName) -> FaultyDevice:
    return FaultyDevice(stack)
