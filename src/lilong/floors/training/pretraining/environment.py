"""What the training ran on and with: enough for another person to run it again."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

TRAINING = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "numpy", "pyarrow")
IMPORTING = ("safetensors", "gguf", "numpy")


def environment(packages: Sequence[str], threads: int) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
        "threads": threads,
        "machine": platform.machine(),
        "cpu": _cpu(),
        "system": platform.system(),
    }


def code_listing() -> bytes:
    """One line (SHA-256, path) for each of this floor's own Python files: its digest stands for the code."""
    root = Path(__file__).parent.parent
    paths = sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  lilong/floors/training/{path.relative_to(root).as_posix()}\n" for path in paths
    ]
    return "".join(lines).encode()


def code_digest() -> str:
    return f"sha256:{hashlib.sha256(code_listing()).hexdigest()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
