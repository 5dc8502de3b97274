"""`.gitattributes`, as far as it says which files Git LFS keeps (gitattributes(5), gitignore(5) for the patterns)."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

_LARGE = [
    "7z",
    "arrow",
    "avro",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gguf",
    "gz",
    "h5",
    "joblib",
    "lz4",
    "mds",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "ot",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rar",
    "safetensors",
    "tar",
    "tflite",
    "tgz",
    "wasm",
    "xz",
    "zip",
    "zst",
    "flac",
    "mp3",
    "ogg",
    "wav",
    "mp4",
    "webm",
    "bmp",
    "gif",
    "png",
    "tiff",
    "jpg",
    "jpeg",
    "webp",
]
_LFS = "filter=lfs diff=lfs merge=lfs -text"
DEFAULT = "".join(f"*.{suffix} {_LFS}\n" for suffix in _LARGE) + f"saved_model/**/* {_LFS}\n*tfevents* {_LFS}\n"
PATH = ".gitattributes"
LIMIT = 1 << 20  # bytes of the file that are read

LONGEST = 4096  # characters of a pattern; no path is so long
MOST_GLOBS = 500  # patterns with wildcards that count, the first ones: each is held against each path, and a commit may have 100,000

_SUFFIX = re.compile(r"\*\.([^*?\[\]\\/]+)")
_PLAIN = re.compile(r"/?[^*?\[\]\\/]+(?:/[^*?\[\]\\/]+)+|/[^*?\[\]\\/]+")  # a path, without wildcards


@dataclass(frozen=True, slots=True)
class Attributes:
    """The rules of one file. Each has its line's number: the last that matches decides."""

    by_suffix: Mapping[str, tuple[int, bool]]  # the many rules like `*.gz`
    by_path: Mapping[str, tuple[int, bool]]  # and like `/data/tide.txt`
    others: Sequence[tuple[int, str, bool]]

    def large(self, path: str) -> bool:
        """Whether Git LFS keeps this path."""
        best, large = self.by_path.get(path, (-1, False))
        name = path.rsplit("/", 1)[-1]
        dot = name.find(".")
        while dot >= 0:
            number, says = self.by_suffix.get(name[dot + 1 :], (-1, False))
            if number > best:
                best, large = number, says
            dot = name.find(".", dot + 1)
        for number, pattern, says in reversed(self.others):
            if number < best:
                break
            if matches(pattern, path):
                return says
        return large


def parse(text: str) -> Attributes:
    """Lines that say nothing of the `filter` attribute, or that git would not understand, are passed over."""
    by_suffix: dict[str, tuple[int, bool]] = {}
    by_path: dict[str, tuple[int, bool]] = {}
    others: list[tuple[int, str, bool]] = []
    for number, line in enumerate(text[:LIMIT].splitlines()):
        pattern, *attributes = _fields(line.strip())
        if not pattern or pattern[0] in "#!" or len(pattern) > LONGEST:
            continue
        says = [
            attribute == "filter=lfs" for attribute in attributes if attribute.startswith("filter=") or attribute in ("-filter", "!filter")
        ]
        if says and (suffix := _SUFFIX.fullmatch(pattern)):
            by_suffix[suffix[1]] = (number, says[-1])
        elif says and _PLAIN.fullmatch(pattern):
            by_path[pattern.removeprefix("/")] = (number, says[-1])
        elif says and len(others) < MOST_GLOBS:
            others.append((number, pattern, says[-1]))
    return Attributes(by_suffix, by_path, others)


def _fields(line: str) -> list[str]:
    if line.startswith('"'):
        quoted, _, rest = line[1:].partition('"')
        return [quoted, *rest.split()]
    return line.split() or [""]


def with_paths(text: str, paths: Iterable[str]) -> str:
    """The file with one more line for each path that Git LFS must keep and that no rule covers yet."""
    attributes = parse(text)
    more = [f"{_escaped(path)} {_LFS}\n" for path in sorted(paths) if not attributes.large(path)]
    return text + ("\n" if more and text and not text.endswith("\n") else "") + "".join(more)


def _escaped(path: str) -> str:
    """A pattern for just this path; the leading slash keeps it from holding in every folder."""
    return "/" + re.sub(r"\s", "[[:space:]]", re.sub(r"([*?\[])", r"\\\1", path))


def matches(pattern: str, path: str) -> bool:
    """Whether a glob of gitignore(5) matches a path: `*` stays within a folder, `**` does not; without `/` it is for the last name."""
    if "/" not in pattern.rstrip("/"):
        return _part(pattern.rstrip("/")).match(path.rsplit("/", 1)[-1]) is not None
    wanted = _wanted(pattern)
    # The positions in `wanted` that may come next, kept after each part of the path: linear, whatever the pattern.
    states = _skipping(wanted, {0})
    for part in path.split("/"):
        onward = set()
        for state in states:
            if state < len(wanted) and wanted[state] == "**":
                onward.add(state)
                if state == len(wanted) - 1:
                    onward.add(state + 1)
            elif state < len(wanted) and _part(wanted[state]).match(part):
                onward.add(state + 1)
        states = _skipping(wanted, onward)
    return len(wanted) in states


@lru_cache(maxsize=4096)
def _wanted(pattern: str) -> tuple[str, ...]:
    """The parts of a pattern; of several `**` one behind another, one says as much."""
    parts = pattern.removeprefix("/").split("/")
    return tuple(part for at, part in enumerate(parts) if part != "**" or at == 0 or parts[at - 1] != "**")


def _skipping(wanted: Sequence[str], states: set[int]) -> set[int]:
    for state in list(states):
        while state < len(wanted) - 1 and wanted[state] == "**":  # a last `**` needs something to match
            state += 1
            states.add(state)
    return states


@lru_cache(maxsize=4096)
def _part(glob: str) -> re.Pattern[str]:
    """One folder's or file's name; the standard library's translation never backtracks over more than one `*`."""
    glob = re.sub(r"\\(.)", lambda found: f"[{found[1]}]" if found[1] in "*?[" else found[1], glob)
    glob = glob.replace("[[:space:]]", "[ \t]").replace("[^", "[!")
    return re.compile(fnmatch.translate(glob))
