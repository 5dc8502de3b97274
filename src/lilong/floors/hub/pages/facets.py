"""The words by which lists of repositories are narrowed, sorted into their kinds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

TASKS = frozenset({
    "any-to-any", "audio-classification", "audio-text-to-text", "audio-to-audio", "automatic-speech-recognition", "depth-estimation",
    "document-question-answering", "feature-extraction", "fill-mask", "graph-ml", "image-classification", "image-feature-extraction", "image-segmentation",
    "image-text-to-text", "image-to-3d", "image-to-image", "image-to-text", "image-to-video", "keypoint-detection", "mask-generation", "multiple-choice",
    "object-detection", "other", "question-answering", "reinforcement-learning", "robotics", "sentence-similarity", "summarization", "table-question-answering",
    "tabular-classification", "tabular-regression", "text-classification", "text-generation", "text-ranking", "text-retrieval", "text-to-3d", "text-to-audio",
    "text-to-image", "text-to-speech", "text-to-video", "time-series-forecasting", "token-classification", "translation", "unconditional-image-generation",
    "video-classification", "video-text-to-text", "visual-document-retrieval", "visual-question-answering", "voice-activity-detection",
    "zero-shot-classification", "zero-shot-image-classification", "zero-shot-object-detection",
})  # fmt: skip
LIBRARIES = frozenset({
    "adapter-transformers", "diffusers", "fasttext", "flair", "gguf", "keras", "llama.cpp", "mlx", "onnx", "open_clip", "paddlepaddle", "peft", "pytorch",
    "safetensors", "sentence-transformers", "setfit", "sklearn", "spacy", "speechbrain", "tensorflow", "tf-keras", "timm", "transformers", "transformers.js",
    "vllm", "datasets", "pandas", "polars", "webdataset", "mlcroissant", "dask",
})  # fmt: skip
LICENCE = "license:"
_ELSEWHERE = (
    "base_model:",
    "dataset:",
    "arxiv:",
    "doi:",
    "region:",
    "format:",
    "modality:",
)  # on the page of the repository, not beside a list
# Of parameters: what the address says, least and most.
SIZES: dict[str, tuple[int | None, int | None]] = {
    "0-100M": (None, 99_999_999),
    "100M-1B": (100_000_000, 999_999_999),
    "1B-10B": (1_000_000_000, 9_999_999_999),
    "10B-100B": (10_000_000_000, 99_999_999_999),
    "100B-": (100_000_000_000, None),
}


@dataclass(frozen=True, slots=True)
class Facets:
    tasks: tuple[tuple[str, int], ...]
    libraries: tuple[tuple[str, int], ...]
    licences: tuple[tuple[str, int], ...]  # without `license:`
    tags: tuple[tuple[str, int], ...]


def sorted_into(tags: Iterable[tuple[str, int]], most: int) -> Facets:
    """`tags` with their counts, the most frequent first; `most` of each kind."""
    found: dict[str, list[tuple[str, int]]] = {"tasks": [], "libraries": [], "licences": [], "tags": []}
    for tag, count in tags:
        if tag.startswith(LICENCE):
            kind, tag = "licences", tag.removeprefix(LICENCE)
        elif tag in TASKS:
            kind = "tasks"
        elif tag in LIBRARIES:
            kind = "libraries"
        elif tag.startswith(_ELSEWHERE):
            continue
        else:
            kind = "tags"
        if len(found[kind]) < most:
            found[kind].append((tag, count))
    return Facets(**{kind: tuple(lines) for kind, lines in found.items()})
