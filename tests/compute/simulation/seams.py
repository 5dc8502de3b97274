"""The seams of a simulated world: a clock that is moved, and ids that come from the seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

BEGINNING = datetime(2026, 3, 1, tzinfo=UTC)


class SimulatedClock:
    """`skew`: by how much the wall clock is off; it may jump. The monotonic one never does."""

    def __init__(self) -> None:
        self.at = 0.0
        self.skew = 0.0

    def now(self) -> datetime:
        return BEGINNING + timedelta(seconds=self.at + self.skew)

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at = round(self.at + seconds, 6)


class SimulatedIds:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._made = 0

    def new(self, prefix: str) -> str:
        self._made += 1
        return f"{prefix}-{self._made:05d}{self._rng.randrange(16**8):08x}"

    def secret(self, bits: int = 256) -> str:
        return f"{self._rng.getrandbits(bits):0{bits // 4}x}"
