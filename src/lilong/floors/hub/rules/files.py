"""Which files a repository takes, and which of them git sees as LFS pointers."""

from __future__ import annotations

from pathlib import PurePosixPath

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git.attributes import Attributes
from lilong.ground.intake import UnsafeFile

LARGE = 1 << 20  # bytes; from here on a file is kept by LFS whatever its name
SNIFFED = 4096  # bytes of a file that are looked at

WEIGHTS = (".safetensors", ".gguf")
# Names that usually hold pickles: what they would import is looked at (see pickles.py).
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".dill")
# Other formats that carry code to whoever loads them: Keras lambdas, Lua, archives with handlers.
_CODE = (".h5", ".keras", ".mar", ".nemo", ".t7")
# Binary formats that hold only data; everything else that a model repository takes is text.
_DATA = (
    ".onnx", ".onnx_data", ".tflite", ".ort", ".parquet", ".arrow", ".model", ".spm", ".tiktoken", ".png", ".jpg", ".jpeg", ".webp", ".gif",
    ".pdf", ".wav", ".mp3", ".flac", ".mp4", ".sig",
)  # fmt: skip
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY")
_ARCHIVES = (b"PK\x03\x04", b"\x1f\x8b")


def large(path: str, size: int, attributes: Attributes) -> bool:
    """Whether git holds an LFS pointer in place of this file. An empty file never needs one."""
    return size > 0 and (size >= LARGE or attributes.large(path))


def check_name(kind: Kind, path: str) -> None:
    """Refuse by its name alone what a model repository never takes. Raises UnsafeFile."""
    if kind is Kind.MODEL and path.lower().endswith(_CODE):
        raise UnsafeFile(
            path=path,
            problem="files of this kind can run code when they are loaded",
            way_out="Save the weights as safetensors or GGUF, arrays as safetensors or Parquet.",
        )


def is_weights(path: str) -> bool:
    return path.lower().endswith(WEIGHTS)


def is_pickle(path: str, start: bytes) -> bool:
    """Whether it is to be read as a pickle (or an archive of them), by its name or by its first bytes."""
    # A safetensors header of 640 bytes begins with the bytes of a pickle too; its JSON after them does not.
    return path.lower().endswith(PICKLES) or (start.startswith(_PICKLE_STARTS) and start[8:9] != b"{")


def check_start(kind: Kind, path: str, start: bytes, size: int) -> None:
    """Refuse by its first bytes what is neither text nor of a known kind. Weights have a check of their own.

    An allow-list: a scanner for bad pickles can be deceived, a list of what is taken cannot. Raises UnsafeFile.
    """
    if kind is not Kind.MODEL or is_weights(path):
        return
    suffix = PurePosixPath(path.lower()).suffix
    if start.startswith(_PICKLE_STARTS + _ARCHIVES) or suffix in PICKLES:
        raise UnsafeFile(
            path=path, problem="its first bytes are those of a pickle or an archive", way_out="Save the weights as safetensors or GGUF."
        )
    if suffix not in _DATA and not is_text(start, cut=len(start) < size):
        raise UnsafeFile(
            path=path,
            problem="it is not text, and its name is not that of a format that a model repository takes",
            way_out=f"Taken: text, {', '.join(WEIGHTS + _DATA)}. Other data go to a dataset repository.",
        )


def is_text(start: bytes, *, cut: bool) -> bool:
    """Whether these first bytes (`cut`: of more) are UTF-8 without NUL."""
    if b"\0" in start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as problem:
        return cut and problem.start >= len(start) - 3  # within a character
    return True
