"""In which batches things are scored: a function of their lengths alone, so that a second run forms the same ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def grouped(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Indices of similar lengths together, so that a padded batch holds at most `most_tokens` (or one thing that is longer).

    The longest come first, so that memory peaks at once; equal ones in the order given.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
