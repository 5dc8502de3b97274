"""fastText model files made by hand: the format written out, its features in plain Python, and a few steps of training."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4


def fnv(data: bytes) -> int:
    value = 2166136261
    for byte in data:
        value = ((value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) % (1 << 32)
    return value


@dataclass
class Tiny:
    """A model small enough to be written by a test."""

    words: list[str]
    labels: list[str]
    loss: int = SOFTMAX
    dimension: int = 6
    bucket: int = 50
    shortest: int = 2
    longest: int = 3
    word_ngrams: int = 2
    label_counts: list[int] = field(default_factory=list)
    rows: np.ndarray = field(init=False)
    outputs: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        pick = np.random.default_rng(3)
        self.words = [*self.words, "</s>"]
        self.rows = pick.normal(0, 0.5, (len(self.words) + self.bucket, self.dimension)).astype(np.float32)
        self.outputs = pick.normal(0, 0.5, (len(self.labels), self.dimension)).astype(np.float32)
        self.label_counts = self.label_counts or list(range(10 * len(self.labels), 0, -10))

    def features(self, text: str) -> list[int]:
        """Rows of a text: each word and its character n-grams, then the word n-grams, ending with the end of line."""
        found, hashes = [], []
        for word in [*text.replace("\0", " ").split(), "</s>"]:
            raw = word.encode()
            hashes.append(fnv(raw))
            if word in self.words:
                found.append(self.words.index(word))
            if word == "</s>" or not self.longest:
                continue
            characters = ["<", *word, ">"]
            for first in range(len(characters)):
                for size in range(self.shortest, self.longest + 1):
                    if first + size <= len(characters) and not (size == 1 and (first == 0 or first == len(characters) - 1)):
                        found.append(len(self.words) + fnv("".join(characters[first : first + size]).encode()) % self.bucket)
        for first in range(len(hashes)):
            value = signed(hashes[first])
            for step in range(first + 1, min(len(hashes), first + self.word_ngrams)):
                value = (value * 116049371 + signed(hashes[step])) % (1 << 64)
                found.append(len(self.words) + value % self.bucket)
        return found

    def probabilities(self, text: str) -> np.ndarray:
        products = self.outputs @ self.rows[self.features(text)].mean(axis=0)
        if self.loss == SOFTMAX:
            return np.exp(products) / np.exp(products).sum()
        return 1 / (1 + np.exp(-products))

    def train(self, examples: Sequence[tuple[str, str]], rounds: int = 60, rate: float = 0.5) -> None:
        """Gradient steps on the softmax loss."""
        for _ in range(rounds):
            for text, label in examples:
                rows = self.features(text)
                hidden = self.rows[rows].mean(axis=0)
                error = self.probabilities(text) - np.eye(len(self.labels), dtype=np.float32)[self.labels.index(label)]
                step = error @ self.outputs
                self.outputs -= rate * np.outer(error, hidden).astype(np.float32)
                np.subtract.at(self.rows, rows, (rate * step / len(rows)).astype(np.float32))

    def write(self, path: Path) -> Path:
        """Format 12, dense matrices."""
        with path.open("wb") as file:
            file.write(struct.pack("<2i", 793_712_314, 12))
            settings = (self.dimension, 5, 5, 1, 5, self.word_ngrams, self.loss, 3, self.bucket, self.shortest, self.longest, 100)
            file.write(struct.pack("<12id", *settings, 1e-4))
            file.write(struct.pack("<3i2q", len(self.words) + len(self.labels), len(self.words), len(self.labels), 100, -1))
            for word in self.words:
                file.write(word.encode() + b"\0" + struct.pack("<qb", 5, 0))
            for label, count in zip(self.labels, self.label_counts, strict=True):
                file.write(label.encode() + b"\0" + struct.pack("<qb", count, 1))
            for matrix in (self.rows, self.outputs):
                file.write(struct.pack("<?2q", False, *matrix.shape) + matrix.astype("<f4").tobytes())
        return path


def signed(value: int) -> int:
    """A 32-bit hash as the 64-bit number that fastText widens it to."""
    return (value - (1 << 32) if value >= 1 << 31 else value) % (1 << 64)
