"""Which documents are held out: whole families of similar documents, by the hash of the family's name, so that nothing leaks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_WHOLE = 1 << 64


def rank(seed: int, name: str) -> int:
    """A number in [0, 2^64) that depends on seed and name alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


def held_out(families: Sequence[str], fraction: float, seed: int) -> list[bool]:
    """Per document, given its family's name, whether it is held out; the members of a family share one answer.

    About `fraction` of the families are. Where a fraction between 0 and 1 would leave one side empty though there are two
    families or more, the family that is nearest to the border changes sides. Adding documents of new families moves no old one,
    but for that case.
    """
    if fraction <= 0 or fraction >= 1:
        return [fraction >= 1] * len(families)
    ranks = {family: rank(seed, family) for family in set(families)}
    chosen = {family for family, value in ranks.items() if value < fraction * _WHOLE}
    ordered = sorted(ranks, key=lambda family: (ranks[family], family))
    if len(ordered) >= 2 and not chosen:
        chosen = {ordered[0]}
    elif len(ordered) >= 2 and len(chosen) == len(ordered):
        chosen.discard(ordered[-1])
    return [family in chosen for family in families]
