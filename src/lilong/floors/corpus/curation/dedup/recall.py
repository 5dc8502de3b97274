"""The S-curve: how often pairs that are alike to a known degree really meet, against 1 - (1 - s^rows)^bands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lilong.floors.corpus.curation.dedup.minhash import Banding, Signer
from lilong.floors.corpus.curation.texts import Texts

GRADES = (0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Grade:
    """Planted pairs of one degree of likeness."""

    jaccard: float  # of the shingle sets, exactly
    pairs: int
    met: int  # pairs that share a band
    expected: float  # the S-curve at `jaccard`

    @property
    def recall(self) -> float:
        return self.met / self.pairs


def s_curve(banding: Banding, *, pairs: int = 1000, shingles: int = 200, seed: int = 1, grades: Sequence[float] = GRADES) -> list[Grade]:
    """Plant pairs of texts of `shingles` shingles each, sign them and count those that meet.

    The second text of a pair continues the first one's second part with words of its own, so of N shingles each they share exactly k, and
    the Jaccard index is k / (2N - k). Words are random and never repeat, so shingles differ wherever words do.
    """
    signer = Signer(banding)
    found = []
    for number, grade in enumerate(grades):
        shared = min(shingles, round(2 * shingles * grade / (1 + grade)))
        exact = shared / (2 * shingles - shared)
        rng = np.random.default_rng((seed, number))
        met = 0
        for start in range(0, pairs, 500):
            count = min(500, pairs - start)
            keys = signer.keys(_pairs(rng, count, shingles + banding.words - 1, shared + banding.words - 1))
            met += int((keys[0::2] == keys[1::2]).any(axis=1).sum())
        found.append(Grade(exact, pairs, met, banding.meeting(exact)))
    return found


def _pairs(rng: np.random.Generator, count: int, words: int, shared: int) -> Texts:
    """`count` pairs of texts of `words` words; the last `shared` of the first are the first of the second."""
    length = 2 * words - shared
    letters = rng.integers(97, 123, (count, length, 8), np.uint8)  # 26^8 words: some pair of equal ones in a text once in a million texts
    texts = []
    for row in letters:
        joined = np.full((length, 9), 32, np.uint8)
        joined[:, :8] = row
        whole = joined.tobytes().decode()
        texts += [whole[: 9 * words], whole[9 * (words - shared) :]]
    return Texts.of(texts)


def drawing(grades: Sequence[Grade], banding: Banding) -> str:
    """The table as a small SVG: the curve as it should be, and a dot for each measured grade."""
    width, height, left, top = 480, 300, 44, 16

    def place(jaccard: float, share: float) -> str:
        return f"{left + jaccard * (width - left - 16):.1f},{top + (1 - share) * (height - top - 44):.1f}"

    curve = " ".join(place(step / 100, banding.meeting(step / 100)) for step in range(101))
    dots = "".join(_dot(grade, place(grade.jaccard, grade.recall)) for grade in grades)
    ticks = "".join(
        '<text x="{}" y="{}" text-anchor="middle">{}</text>'.format(place(at / 10, 0).split(",")[0], height - 28, at / 10)
        + '<text x="{}" y="{}" text-anchor="end">{}</text>'.format(left - 6, float(place(0, at / 10).split(",")[1]) + 4, at / 10)
        for at in range(0, 11, 2)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11" role="img">'
        f"<title>Pairs that meet, by their Jaccard index: {banding.bands} bands of {banding.rows}</title>"
        f'<path d="M{place(0, 1)} L{place(0, 0)} L{place(1, 0)}" fill="none" stroke="#888"/>'
        f'<polyline points="{curve}" fill="none" stroke="#2563eb" stroke-width="1.5"/><g fill="#b91c1c">{dots}</g><g fill="#444">{ticks}'
        f'<text x="{(left + width) // 2}" y="{height - 10}" text-anchor="middle">Jaccard index of word {banding.words}-grams</text></g></svg>\n'
    )


def _dot(grade: Grade, place: str) -> str:
    x, y = place.split(",")
    said = f"Jaccard {grade.jaccard:.3f}: {grade.met} of {grade.pairs} met, {grade.expected:.3f} expected"
    return f'<circle r="3.5" cx="{x}" cy="{y}"><title>{said}</title></circle>'
