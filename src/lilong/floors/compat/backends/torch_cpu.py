"""PyTorch on the CPU through transformers: float32 (the reference) and bfloat16 (what 16 bits cost in the reference's own software)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from lilong.floors.compat.backends.machine import cpu
from lilong.floors.compat.contract import Probe, StackName

Logits = NDArray[np.float32]
DTYPES = {"torch-fp32": torch.float32, "torch-bf16": torch.bfloat16}
SHORT = {torch.float32: "f32", torch.bfloat16: "bf16"}


class TorchDevice:
    def __init__(self, stack: StackName) -> None:
        self.stack = stack
        self.dtype = DTYPES[stack]
        self.model: Any = None

    def load(self, model: Path, threads: int) -> Probe:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")
        transformers.utils.logging.disable_progress_bar()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=self.dtype, local_files_only=True, use_safetensors=True)
        self.model.eval()
        short = SHORT[self.dtype]
        return Probe(
            stack=self.stack,
            name="PyTorch (transformers)",
            version=f"{torch.__version__}, transformers {transformers.__version__}",
            weights=short,
            compute=f"{short}, matrix products measured as {matmul_precision(self.dtype)}",
            threads=torch.get_num_threads(),
            device=cpu(),
            features=torch.backends.cpu.get_cpu_capability(),
            file="model.safetensors",
        )

    def tokenize(self, text: str) -> list[int] | None:
        return None  # it reads the same tokenizer.json that the suite is made with

    def logits(self, tokens: Sequence[int]) -> Logits:
        with torch.inference_mode():
            answer = self.model(input_ids=torch.tensor([list(tokens)]), use_cache=False).logits[0]
            array: Logits = answer.float().numpy()
        return array

    def greedy(self, tokens: Sequence[int], count: int) -> tuple[list[int], Logits]:
        chosen: list[int] = []
        rows: list[Logits] = []
        past, fed = None, list(tokens)
        for _ in range(count):
            with torch.inference_mode():
                out = self.model(input_ids=torch.tensor([fed]), past_key_values=past, use_cache=True)
                past, row = out.past_key_values, out.logits[0, -1].float().numpy()
            rows.append(row)
            chosen.append(int(row.argmax()))
            fed = [chosen[-1]]
        return chosen, np.stack(rows) if rows else np.zeros((0, self.model.config.vocab_size), np.float32)

    def spent(self) -> float:
        return time.process_time()

    def peak_mib(self) -> int:
        return 0  # its worker process knows

    def close(self) -> None:
        self.model = None


def matmul_precision(dtype: torch.dtype) -> str:
    """The precision of matrix products as they really come out: backends swap in fewer bits without being asked."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.randn(256, 256, generator=generator, dtype=torch.float64) for _ in range(2))
    exact_left, exact_right = left.to(dtype).double(), right.to(dtype).double()
    got = (exact_left.to(dtype) @ exact_right.to(dtype)).double()
    exact = exact_left @ exact_right
    error = float((got - exact).norm() / exact.norm())
    for name, bound in (("f32", 2e-6), ("tf32", 7e-4), ("bf16", 6e-3)):
        if error < bound:
            return name
    return f"less than bf16 (relative error {error:.1g})"


def open_device(stack: StackName) -> TorchDevice:
    return TorchDevice(stack)
