"""The house's own code beside the run folders, so that an engine's nodes need nothing but Python 3.11 or later.

<root>/.program/<digest>/lilong/…: a copy per version, made once; jobs that started with an older one keep it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import lilong
from lilong.floors.compute.backends.folders import remove

FOLDER = ".program"


def laid(root: Path) -> Path:
    """The folder to be put on PYTHONPATH; made if it is not there."""
    source = Path(lilong.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            facts = path.stat()
            digest.update(f"{path.relative_to(source)}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    place = root / FOLDER / digest.hexdigest()[:16]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
        shutil.copytree(source, fresh / "lilong", ignore=shutil.ignore_patterns("__pycache__"))
        fresh.chmod(0o755)
        try:
            os.rename(fresh, place)  # noqa: PTH104 - onto a folder that another process made meanwhile it fails
        except OSError:
            remove(fresh)
    return place
