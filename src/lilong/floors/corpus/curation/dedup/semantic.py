"""Documents that say the same in other words: static embeddings (model2vec; Tulkens and van Dongen 2024) and their cosine.

The model is the user's own folder; nothing is downloaded. Every pair is compared (n^2 / 2 products of small vectors: 20,000 documents in a
minute or so), so this is a step for what is left of a source after the others, not for a whole corpus.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from lilong.ground.errors import BadInput, NotFound, Unavailable

_BLOCK = 2048
Vectors = npt.NDArray[np.float32]


class NoEmbeddings(Unavailable):
    """Documents cannot be compared by meaning: the package model2vec is not installed. Run `pip install 'lilong[meaning]'`, or leave this step out."""


class NoModel(NotFound):
    """There is no static embedding model in {folder}: {missing} is missing. Put a model2vec folder there (config.json, tokenizer.json,
    model.safetensors; for example a copy of minishlab/potion-base-8M) and give its path. Nothing is downloaded here."""


class Model:
    """A static embedding model in memory. Raises NoModel, NoEmbeddings."""

    def __init__(self, folder: Path) -> None:
        check(folder)
        # `embed` asks for whole texts and for vectors as the model has them; a local folder is only read.
        self._model: Any = import_module("model2vec").StaticModel.from_pretrained(str(folder), normalize=False, force_download=False)

    def embed(self, texts: list[str]) -> Vectors:
        """(n, d) vectors of length 1; zeros for a text without a known word."""
        found: Any = self._model.encode(texts, max_length=None, use_multiprocessing=False)
        vectors = np.nan_to_num(np.asarray(found, np.float32)).reshape(len(texts), -1)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        out: Vectors = np.zeros_like(vectors)
        np.divide(vectors, lengths, out=out, where=lengths > 0)
        return out


def check(folder: Path, least: float = 0.95) -> None:
    """Raises what Model and groups would raise before they look at any text: NoModel, NoEmbeddings, BadInput."""
    if not 0 < least <= 1:
        raise BadInput(field="least", problem=f"{least} is no cosine to ask for", way_out="Give a number above 0, up to 1.")
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise NoModel(folder=folder, missing=name)
    try:
        import_module("model2vec")
    except ImportError as missing:
        raise NoEmbeddings() from missing


def groups(vectors: Vectors, least: float = 0.95) -> npt.NDArray[np.int64]:
    """For each row the least row of its group: rows whose cosine is `least` or more are in one, and so are those joined through others.

    Cosines are rounded to four digits first, so that the order in which a processor adds does not decide.
    """
    from lilong.floors.corpus.curation.dedup import kernels

    if not 0 < least <= 1:
        raise BadInput(field="least", problem=f"{least} is no cosine to ask for", way_out="Give a number above 0, up to 1.")
    parent = np.arange(len(vectors))
    for top in range(0, len(vectors), _BLOCK):
        block = vectors[top : top + _BLOCK]
        for left in range(0, top + len(block), _BLOCK):
            near = np.round(block @ vectors[left : left + _BLOCK].T, 4) >= np.float32(round(least, 4))
            rows, columns = np.nonzero(near)
            rows, columns = rows + top, columns + left
            kernels.join_pairs(columns[columns < rows], rows[columns < rows], parent)
    kernels.flatten(parent)
    return parent
