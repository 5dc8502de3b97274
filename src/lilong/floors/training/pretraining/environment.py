"""What the training ran on and with: enough for another person to run it again."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "gguf", "numpy", "pyarrow")


def environment(threads: int) -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "threads": threads,
        "machine": platform.machine(),
        "cpu": _cpu(),
        "system": platform.system(),
    }


def code_digest() -> str:
    """SHA-256 over the paths and contents of this floor's own Python files, in the order of their paths."""
    root = Path(__file__).parent.parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py"), key=lambda path: path.relative_to(root).as_posix()):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(root).as_posix()}\n".encode())
    return f"sha256:{digest.hexdigest()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor())
