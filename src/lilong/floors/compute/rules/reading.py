"""Reading a table that a person wrote: each key by its kind, and a refusal that names the key, what is wrong with it and the way out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from difflib import get_close_matches
from typing import Any

from lilong.ground.errors import BadInput

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
LONGEST_S = 100 * 365 * 86400
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(M|MiB|G|GiB|T|TiB)")
_MIB = {"M": 1, "G": 1024, "T": 1024 * 1024}


def nearest(word: str, known: Iterable[str]) -> str:
    """The way out for a word that is not known."""
    names = sorted(known)
    near = get_close_matches(word, names, 1)
    return f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(names) or 'none'}."


def seconds(value: Any, field: str) -> int:
    """Whole seconds, or a text such as 90s, 30m, 8h, 7d or 2w. Raises BadInput."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST_S:
        return value
    parts = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    found = round(float(parts[1]) * _SECONDS[parts[2]]) if parts is not None and len(parts[1]) < 12 else -1
    if not 0 <= found <= LONGEST_S:
        raise BadInput(
            field=field, problem=f"{_shown(value)} is no length of time", way_out='Write seconds, or a text such as "30m", "8h" or "7d".'
        )
    return found


def mebibytes(value: Any, field: str) -> int:
    """Whole MiB, or a text such as 512M or 64G (powers of 1024). Raises BadInput."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    parts = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if parts is None or len(parts[1]) > 11:
        raise BadInput(
            field=field, problem=f"{_shown(value)} is no amount of memory", way_out='Write MiB, or a text such as "512M" or "64G".'
        )
    return round(float(parts[1]) * _MIB[parts[2][0]])


def moment(value: Any, field: str) -> datetime:
    """A time with its zone, as TOML's own kind or as text of RFC 3339; in UTC. Raises BadInput."""
    found = value
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            found = None
    if not isinstance(found, datetime) or found.tzinfo is None:
        raise BadInput(field=field, problem=f"{_shown(value)} is no time with a zone", way_out="Write it as 2026-12-01T22:00:00Z.")
    try:
        return found.astimezone(UTC)
    except (OverflowError, ValueError):
        raise BadInput(
            field=field, problem=f"{_shown(value)} is beyond the calendar", way_out="Write it as 2026-12-01T22:00:00Z."
        ) from None


class Reader:
    """One table. Ask for each key that it may hold, then `end`, which refuses whatever is left. `place`: such as tenants.lantern-works."""

    def __init__(self, value: Any, place: str = "") -> None:
        if not isinstance(value, Mapping):
            raise BadInput(
                field=place or "the file", problem=f"{_shown(value)} is not a table", way_out=f"Write it as [{place or 'table'}] with keys."
            )
        self._table: Mapping[str, Any] = value
        self._asked: set[str] = set()
        self.place = place

    def field(self, key: str) -> str:
        return f"{self.place}.{key}" if self.place else key

    def wrong(self, key: str, problem: str, way_out: str) -> BadInput:
        return BadInput(field=self.field(key), problem=problem, way_out=way_out)

    def raw(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self._table.get(key, default)

    def has(self, key: str) -> bool:
        self._asked.add(key)
        return key in self._table

    def text(self, key: str, default: str = "", *, limit: int = 1000) -> str:
        value = self.raw(key, default)
        if not isinstance(value, str) or len(value) > limit or "\0" in value:
            raise self.wrong(key, f"{_shown(value)} is not a text of up to {limit} characters", f'Write {key} = "…".')
        return value

    def one_of(self, key: str, known: Collection[str], default: str) -> str:
        value = self.text(key, default)
        if value not in known:
            raise self.wrong(key, f"{_shown(value)} is none of what it may be", nearest(value, known))
        return value

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        value = self.raw(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self.wrong(key, f"{_shown(value)} is not a whole number from {least:,} to {most:,}", "Give such a number.")
        return value

    def number(self, key: str, default: float, least: float = 0.0, most: float = 1e12) -> float:
        return _number(self.raw(key, default), self.field(key), least, most)

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.raw(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, f"{_shown(value)} is neither true nor false", f"Write {key} = true or {key} = false.")
        return value

    def texts(self, key: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        value = self.raw(key, default)
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and "\0" not in each for each in value):
            raise self.wrong(key, f"{_shown(value)} is not a list of texts", f'Write {key} = ["…", "…"].')
        return tuple(value)

    def words(self, key: str) -> dict[str, str]:
        """A table of texts."""
        inner = Reader(self.raw(key, {}), self.field(key))
        return {name: inner.text(name, limit=100_000) for name in inner._table}

    def seconds(self, key: str, default: int) -> int:
        return seconds(self.raw(key, default), self.field(key))

    def amounts(self, key: str, known: Collection[str]) -> dict[str, float]:
        """A table of numbers of 0 or more, by name."""
        inner = Reader(self.raw(key, {}), self.field(key))
        for name in inner._table:
            if name not in known:
                raise BadInput(field=inner.field(name), problem=f"there is no class {name!r}", way_out=nearest(name, known))
        return {name: inner.number(name, 0.0, 0.0, 1e9) for name in inner._table}

    def tables(self, key: str) -> dict[str, Reader]:
        """The tables under a key, by name."""
        inner = Reader(self.raw(key, {}), self.field(key))
        return {name: Reader(value, inner.field(name)) for name, value in inner._table.items()}

    def list_of_tables(self, key: str) -> list[Reader]:
        value = self.raw(key, [])
        if not isinstance(value, list | tuple):
            raise self.wrong(key, f"{_shown(value)} is not a list of tables", f"Write [[{self.field(key)}]] with keys.")
        return [Reader(each, f"{self.field(key)}[{at}]") for at, each in enumerate(value)]

    def end(self) -> None:
        """Raises BadInput for a key that was not asked for."""
        for key in self._table:
            if key not in self._asked:
                raise self.wrong(str(key), "no key has that name here", nearest(str(key), self._asked))


def _number(value: Any, field: str, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise BadInput(field=field, problem=f"{_shown(value)} is not a number from {least:g} to {most:g}", way_out="Give such a number.")
    return float(value)


def _shown(value: Any) -> str:
    text = value.isoformat() if isinstance(value, date) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
