"""The numbers of the profile (see profile.py), computed for many documents at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lilong.floors.corpus.curation import kernels
from lilong.floors.corpus.curation.columns import Texts
from lilong.floors.corpus.curation.language import identify
from lilong.floors.corpus.curation.profile import NGRAMS_DUP, NGRAMS_TOP, SIGNALS

BATCH_BYTES = 8 << 20
_C = {name: index for index, name in enumerate(kernels.COUNTS)}
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Measured:
    """n documents' signals (SIGNALS and `language`, n rows) and MinHash signatures (n, permutations)."""

    signals: pa.Table
    signatures: npt.NDArray[np.uint32]


def measure(
    documents: Sequence[bytes],
    *,
    words: int,
    characters: int,
    permutations: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Measured:
    """All signals and signatures of UTF-8 documents, batch by batch. Shingles are of `words` tokens, or of `characters` in Chinese
    and Japanese. `progress` is told how many documents are done."""
    texts = Texts.of(documents)
    tables, signatures = [], [np.zeros((0, permutations), np.uint32)]
    for start, end in texts.batches(BATCH_BYTES):
        offsets = texts.offsets[start : end + 1]
        counts = kernels.count(texts.data, offsets)
        hashes, lengths, bounds = kernels.tokenise(texts.data, offsets)
        repetition = kernels.repetition(hashes, lengths, bounds)
        languages = _languages(documents[start:end], counts)
        tables.append(_table(np.diff(offsets), counts, np.diff(bounds), repetition, languages))
        widths = np.array([characters if label in ("zh", "ja") else words for label, _ in languages], np.int64)
        signatures.append(kernels.minhash(hashes, bounds, widths, permutations, seed))
        progress(end)
    empty = _table(np.zeros(0, np.int64), np.zeros((0, len(_C))), np.zeros(0, np.int64), np.zeros((0, 12)), [])
    return Measured(pa.concat_tables([empty, *tables]).combine_chunks(), np.concatenate(signatures))


def _languages(documents: Sequence[bytes], counts: Floats) -> list[tuple[str, float]]:
    columns = counts[:, [_C["letters"], _C["han"], _C["kana"]]]
    return [identify(document[:16_000].decode("utf-8", "ignore"), *row) for document, row in zip(documents, columns, strict=True)]


def _table(
    sizes: npt.NDArray[np.int64],
    counts: Floats,
    words: npt.NDArray[np.int64],
    repetition: Floats,
    languages: Sequence[tuple[str, float]],
) -> pa.Table:
    c = {name: counts[:, index] for name, index in _C.items()}
    visible = c["characters"] - c["blanks"]
    letters = c["letters"]
    values: dict[str, Floats] = {
        "bytes": sizes.astype(np.float64), "characters": c["characters"], "words": words.astype(np.float64),
        "lines": c["lines"], "paragraphs": c["paragraphs"],
        "letter_fraction": _share(letters, visible), "digit_fraction": _share(c["digits"], visible),
        "punctuation_fraction": _share(c["punctuation"], visible), "symbol_fraction": _share(c["symbols"], visible),
        "blank_fraction": _share(c["blanks"], c["characters"]), "upper_fraction": _share(c["upper"], letters),
        "han_fraction": _share(c["han"], letters),
        "control_characters": c["control"], "replacement_characters": c["replacement"],
        "mean_line_length": _share(c["characters"] - c["lines"], c["lines"]), "longest_line": c["longest_line"],
        "short_line_fraction": _share(c["short_lines"], c["lines"]), "bullet_line_fraction": _share(c["bullet_lines"], c["lines"]),
        "ellipsis_line_fraction": _share(c["ellipsis_lines"], c["lines"]), "ended_line_fraction": _share(c["ended_lines"], c["lines"]),
        "dup_line_fraction": _share(c["dup_lines"], c["lines"]),
        "dup_line_char_fraction": _share(c["dup_line_characters"], c["line_characters"]),
        "dup_paragraph_fraction": _share(c["dup_paragraphs"], c["paragraphs"]),
        "dup_paragraph_char_fraction": _share(c["dup_paragraph_characters"], c["line_characters"]),
        "mean_word_length": _share(repetition[:, 0], words), "longest_word": repetition[:, 1],
        "unique_word_fraction": _share(repetition[:, 2], words),
    }  # fmt: skip
    for column, n in enumerate(NGRAMS_TOP):
        values[f"top_{n}gram_fraction"] = repetition[:, 3 + column]
    for column, n in enumerate(NGRAMS_DUP):
        values[f"dup_{n}gram_fraction"] = repetition[:, 3 + len(NGRAMS_TOP) + column]
    values["language_score"] = np.array([score for _, score in languages], np.float64)
    columns = {name: pa.array(values[name], pa.float64()) for name in SIGNALS}
    return pa.table({"language": pa.array([label for label, _ in languages], pa.string()), **columns})


def _share(part: npt.NDArray[np.generic], whole: npt.NDArray[np.generic]) -> Floats:
    """part / whole, 0 where there is no whole, rounded so that the last bits of a division are not data."""
    whole_f = whole.astype(np.float64)
    out: Floats = np.zeros(len(whole_f))
    np.divide(part.astype(np.float64), whole_f, out=out, where=whole_f > 0)
    np.round(np.maximum(out, 0.0, out=out), 6, out=out)
    return out
