"""Which files a repository takes, and which of them git sees as LFS pointers."""

from __future__ import annotations

from pathlib import PurePosixPath

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git.attributes import Attributes
from lilong.ground.intake import UnsafeFile

LARGE = 1 << 20  # bytes; from here on a file is kept by LFS whatever its name
SNIFFED = 4096  # bytes of a file that are looked at

WEIGHTS = (".safetensors", ".gguf")
# Formats that carry code to whoever loads them (pickles, Keras lambdas, TorchScript), by the names they usually have.
_CODE = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".dill", ".h5", ".keras", ".mar", ".nemo", ".t7")
# Binary formats that hold only data; everything else that a model repository takes is text.
_DATA = (
    ".onnx", ".onnx_data", ".tflite", ".ort", ".parquet", ".arrow", ".model", ".spm", ".tiktoken", ".png", ".jpg", ".jpeg", ".webp", ".gif",
    ".pdf", ".wav", ".mp3", ".flac", ".mp4", ".sig",
)  # fmt: skip
_PICKLE_STARTS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04", b"\x1f\x8b", b"\x93NUMPY")


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


def check_start(kind: Kind, path: str, start: bytes, size: int) -> None:
    """Refuse by its first bytes what is neither text nor of a known kind. Weights have a check of their own.

    An allow-list: a scanner for bad pickles can be deceived, a list of what is taken cannot. Raises UnsafeFile.
    """
    if kind is not Kind.MODEL or is_weights(path):
        return
    suffix = PurePosixPath(path.lower()).suffix
    if start.startswith(_PICKLE_STARTS):
        raise UnsafeFile(
            path=path, problem="its first bytes are those of a pickle or an archive", way_out="Save the weights as safetensors or GGUF."
        )
    if suffix not in _DATA and not _is_text(start, cut=len(start) < size):
        raise UnsafeFile(
            path=path,
            problem="it is not text, and its name is not that of a format that a model repository takes",
            way_out=f"Taken: text, {', '.join(WEIGHTS + _DATA)}. Other data go to a dataset repository.",
        )


def _is_text(start: bytes, *, cut: bool) -> bool:
    if b"\0" in start:
        return False
    try:
        start.decode()
    except UnicodeDecodeError as problem:
        return cut and problem.start >= len(start) - 3  # within a character
    return True
