"""Text classifiers as plug-ins: a linear model in a fastText file (.bin or .ftz), read and asked without the fastText library.

A classifier is a function `(Texts) -> {column: array of n}`; `Classifier(model, "quality")` is one for a model of one's own. No model
for quality or toxicity is shipped (none with clear rights and stated training data is small enough), and none is ever fetched.

The arithmetic is that of fastText 0.9.2 (Joulin et al. 2016, arXiv:1607.01759; Joulin et al. 2016b, arXiv:1612.03651 for .ftz): words and
their character n-grams, averaged, times one matrix; blanks and line ends part words, and every text ends with an end-of-line token. It is compiled and works on whole columns; answers agree with the
library's to the rounding of a float32 sum.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lilong.ground.errors import BadInput, NotFound

if TYPE_CHECKING:
    from lilong.floors.corpus.curation.texts import Texts

Floats = npt.NDArray[np.float32]
Classify = Callable[["Texts"], Mapping[str, npt.NDArray[Any]]]
"""What a plug-in is."""

_MAGIC, _VERSION, _SUPERVISED = 793_712_314, 12, 3
_HIERARCHICAL, _NEGATIVE, _SOFTMAX, _ONE_VS_ALL = 1, 2, 3, 4
_UNNAMABLE = re.compile(r"[^\w.]")
_GUARD = np.float32(1e-5)
"""What the library adds to a probability before it takes its logarithm; so its scores reach 1.00001, and so do these."""


class ModelNotFound(NotFound):
    """There is no model file {path}. Models are never downloaded: put the file there, or name another."""


class BadModel(BadInput):
    """The file {path} is no fastText classifier that can be used: {problem}. Use a .bin or .ftz file of a supervised model (format 12)."""


@dataclass(frozen=True)
class Model:
    """A fastText classifier in memory.

    `rows` are the input vectors (words, then n-gram buckets) and `outputs` the label vectors (for hierarchical softmax: the tree's inner
    nodes). `slots` is an open-addressed table of words, `pruned` maps an n-gram bucket to its row (empty: to itself).
    """

    labels: tuple[str, ...]
    label_counts: npt.NDArray[np.int64]
    words: int
    settings: npt.NDArray[np.int64]  # words, bucket, shortest and longest n-gram, word n-grams, pruned or not
    slots: npt.NDArray[np.int32]
    word_bytes: npt.NDArray[np.uint8]
    word_offsets: npt.NDArray[np.int64]
    pruned: npt.NDArray[np.int32]
    rows: Floats
    outputs: Floats
    loss: int

    @classmethod
    def open(cls, path: Path | str) -> Model:
        """Read a .bin or .ftz file. Raises ModelNotFound, BadModel."""
        path = Path(path)
        if not path.is_file():
            raise ModelNotFound(path=path)
        try:
            return _read(_Bytes(path.read_bytes()))
        except (struct.error, ValueError, IndexError) as error:
            raise BadModel(path=path, problem=str(error)) from error

    @cached_property
    def _tree(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Left and right child of each inner node of the Huffman tree over the labels' counts, the root last."""
        leaves = len(self.labels)
        counts = np.full(2 * leaves - 1, 10**15, np.int64)
        counts[:leaves] = self.label_counts
        left, right = np.zeros(leaves - 1, np.int64), np.zeros(leaves - 1, np.int64)
        leaf, node = leaves - 1, leaves
        for inner in range(leaves - 1):
            pair = [0, 0]
            for side in (0, 1):
                if leaf >= 0 and counts[leaf] < counts[node]:
                    pair[side], leaf = leaf, leaf - 1
                else:
                    pair[side], node = node, node + 1
            left[inner], right[inner] = pair
            counts[leaves + inner] = counts[pair].sum()
        return left, right

    def hidden(self, texts: Texts) -> Floats:
        """(n, dimension): the mean vector of each text; all 0 where no part of it is known."""
        from lilong.floors.corpus.curation.fasttext_kernel import mean_vectors

        out = np.zeros((len(texts), self.rows.shape[1]), np.float32)
        mean_vectors(texts.data, texts.offsets, self.settings, self.slots, self.word_bytes, self.word_offsets, self.pruned, self.rows, out)
        return out

    def scores(self, texts: Texts) -> Floats:
        """(n, labels): the probability of each label, in the order of `labels`."""
        from lilong.floors.corpus.curation.fasttext_kernel import multiply

        products: Any = np.zeros((len(texts), len(self.outputs)), np.float32)
        multiply(self.hidden(texts), np.ascontiguousarray(self.outputs.T), products)
        if self.loss == _SOFTMAX:
            products -= products.max(axis=1, keepdims=True)
            powers: Floats = np.exp(products)
            powers /= powers.sum(axis=1, keepdims=True)
            return powers + _GUARD
        if self.loss != _HIERARCHICAL:
            # The library looks its sigmoid up in a table of steps of 1/32 between -8 and 8.
            stepped = np.clip(np.floor((products + 8) * 32) / 32 - 8, -20, 20)
            independent: Floats = np.where(products < -8, 0, np.where(products > 8, 1, 1 / (1 + np.exp(-stepped))))
            return independent.astype(np.float32) + _GUARD
        right: Floats = (1 / (1 + np.exp(-products))).astype(np.float32, copy=False)
        left_child, right_child = self._tree
        leaves = len(self.labels)
        logs = np.zeros((2 * leaves - 1, len(products)), np.float32)
        log_left, log_right = np.log(1 - right.T + _GUARD), np.log(right.T + _GUARD)
        for inner in range(leaves - 2, -1, -1):
            above = logs[leaves + inner]
            logs[left_child[inner]] = above + log_left[inner]
            logs[right_child[inner]] = above + log_right[inner]
        return np.exp(logs[:leaves].T)


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model as a plug-in: the columns `<name>` (the best label) and `<name>_<label>` (its probability) for each label.

    `label_prefix` is taken off the labels' names. Models of many labels may name the few whose probability is a column.
    """

    model: Model
    name: str
    columns: tuple[str, ...] = ()
    label_prefix: str = "__label__"

    @property
    def signals(self) -> dict[str, int]:
        """Column → the number of its label. What a policy could not name in a label (`-`, `/` …) is an underscore there."""
        names = [label.removeprefix(self.label_prefix) for label in self.model.labels]
        asked = [number for number, label in enumerate(names) if not self.columns or label in self.columns]
        return {f"{self.name}_{_UNNAMABLE.sub('_', names[number])}": number for number in asked}

    def __call__(self, texts: Texts) -> dict[str, npt.NDArray[Any]]:
        names = np.array([label.removeprefix(self.label_prefix) for label in self.model.labels])
        scores = self.model.scores(texts)
        probabilities = {name: np.round(scores[:, number].astype(np.float64), 6) for name, number in self.signals.items()}
        return {self.name: names[scores.argmax(axis=1)], **probabilities}


class _Bytes:
    """A cursor over a model file."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return values

    def array(self, kind: type[np.generic], count: int) -> npt.NDArray[Any]:
        if count < 0:
            raise ValueError("a length is negative")
        values = np.frombuffer(self._data, np.dtype(kind).newbyteorder("<"), count, self._at)
        self._at += values.nbytes
        return values

    def name(self) -> bytes:
        end = self._data.index(b"\0", self._at)
        value, self._at = self._data[self._at : end], end + 1
        return value


def _read(file: _Bytes) -> Model:
    magic, version = file.take("ii")
    if magic != _MAGIC or version != _VERSION:
        raise ValueError("it is not in fastText's format 12")
    dimension, _, _, _, _, word_ngrams, loss, kind, bucket, shortest, longest, _, _ = file.take("12id")
    if kind != _SUPERVISED or loss not in (_HIERARCHICAL, _NEGATIVE, _SOFTMAX, _ONE_VS_ALL):
        raise ValueError("it was not trained to classify")
    entries, words, labels, _, kept = file.take("iiiqq")
    if words + labels != entries or labels < 1:
        raise ValueError("its dictionary does not add up")
    names, counts = [], []
    for _ in range(entries):
        names.append(file.name())
        counts.append(file.take("qb")[0])
    pairs = file.array(np.int32, 2 * max(kept, 0)).reshape(-1, 2)
    pruned = np.full(bucket if kept >= 0 else 0, -1, np.int32)
    pruned[pairs[:, 0]] = pairs[:, 1]
    quantised = bool(file.take("?")[0])
    rows = _quantised(file) if quantised else _dense(file)
    quantised_outputs = bool(file.take("?")[0])
    outputs = _quantised(file) if quantised and quantised_outputs else _dense(file)
    if rows.shape[1] != dimension or outputs.shape != (labels, dimension) or len(rows) < words + len(pairs):
        raise ValueError("its matrices do not fit its dictionary")
    if loss == _HIERARCHICAL:
        outputs = outputs[: labels - 1]
    word_offsets = np.zeros(words + 1, np.int64)
    np.cumsum([len(name) for name in names[:words]], out=word_offsets[1:])
    word_bytes = np.frombuffer(b"".join(names[:words]) or b"\0", np.uint8)
    from lilong.floors.corpus.curation.fasttext_kernel import fill_slots

    slots = np.full(1 << max(4, (4 * words).bit_length()), -1, np.int32)
    fill_slots(word_bytes, word_offsets, slots)
    settings = np.array([words, bucket, shortest, longest, word_ngrams, kept], np.int64)
    return Model(
        tuple(name.decode("utf-8", "replace") for name in names[words:]), np.array(counts[words:], np.int64), words, settings, slots,
        word_bytes, word_offsets, pruned, rows, outputs, loss,
    )  # fmt: skip


def _dense(file: _Bytes) -> Floats:
    rows, columns = file.take("qq")
    return np.ascontiguousarray(file.array(np.float32, rows * columns).reshape(rows, columns))


def _quantised(file: _Bytes) -> Floats:
    """A product-quantised matrix (Jégou et al. 2011) with its rows put together again."""
    with_norms, rows, columns, size = file.take("?qqi")
    codes = file.array(np.uint8, size).reshape(rows, -1)
    centroids = _centroids(file)
    if codes.shape[1] != len(centroids):
        raise ValueError("its codes do not fit its centroids")
    matrix = np.concatenate([part[codes[:, number]] for number, part in enumerate(centroids)], axis=1)
    if with_norms:
        norms = file.array(np.uint8, rows)
        matrix *= _centroids(file)[0][norms]
    return np.ascontiguousarray(matrix[:, :columns], np.float32)


def _centroids(file: _Bytes) -> list[Floats]:
    """One array (256, width) per part of the vector; the last may be narrower."""
    dimension, parts, width, last = file.take("iiii")
    values = file.array(np.float32, dimension * 256)
    if parts < 1 or (parts - 1) * width + last != dimension:
        raise ValueError("its centroids do not add up")
    bounds = [part * 256 * width for part in range(parts)] + [dimension * 256]
    return [values[bounds[part] : bounds[part + 1]].reshape(256, -1) for part in range(parts)]
