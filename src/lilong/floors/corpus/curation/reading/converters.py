"""PDF, office files and pictures, by programs that turn them into text: MinerU's command, or a plug-in.

A plug-in is an entry point of the group `lilong.corpus.converters`, named by an ending without its dot (`pdf`): a function that takes
the path of a file and answers its text. A plug-in goes before MinerU.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

GROUP = "lilong.corpus.converters"
CONVERTED = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".doc", ".ppt", ".xls", ".odt", ".odp", ".ods", ".rtf"})
_MINERU = frozenset({".pdf", ".docx", ".pptx", ".xlsx"})
_SECONDS = 3_600


class NoConverter(LookupError):
    """Nothing that is installed reads files of this kind."""


class ConversionFailed(ValueError):
    """The converter could not read the file."""


def convert(name: str, data: bytes) -> str:
    """The text of a file, told by its name and bytes. Raises NoConverter, ConversionFailed."""
    ending = Path(name).suffix.lower()
    how = _converter(ending)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"document{ending}"
        file.write_bytes(data)
        try:
            return how(file)
        except ConversionFailed:
            raise
        except Exception as problem:  # a plug-in is someone else's code; whatever it raises is said about this one file
            raise ConversionFailed(f"could not be converted: {' '.join(str(problem).split())[:200]}") from problem


@cache
def _converter(ending: str) -> Callable[[Path], str]:
    for point in sorted(entry_points(group=GROUP, name=ending.removeprefix(".")), key=lambda one: one.value):
        loaded: Callable[[Path], str] = point.load()
        return loaded
    if ending in _MINERU and shutil.which("mineru"):
        return _mineru
    way_out = "Install MinerU (`pip install mineru`), or" if ending in _MINERU else "Convert it to PDF, HTML or text, or"
    raise NoConverter(f"needs a converter for {ending} and none is installed. {way_out} add a plug-in of the group {GROUP}")


def _mineru(file: Path) -> str:
    out = file.parent / "out"
    done = subprocess.run(
        ["mineru", "-p", str(file), "-o", str(out)], capture_output=True, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL
    )
    found = sorted(out.rglob("*.md"))
    if done.returncode or not found:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["it wrote no Markdown"]
        raise ConversionFailed(f"could not be converted by MinerU: {said[0][:200]}")
    return found[0].read_text(encoding="utf-8", errors="replace")
