"""Many values asked for at once: the inside of SQL's IN, so many at a time that every database takes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_TOGETHER = 400  # values in one IN


def in_groups(values: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The placeholders of each group, and its parameters; every value once."""
    wanted = sorted(set(values))
    for begin in range(0, len(wanted), _TOGETHER):
        some = wanted[begin : begin + _TOGETHER]
        yield ", ".join(f":in_{i}" for i in range(len(some))), {f"in_{i}": value for i, value in enumerate(some)}
