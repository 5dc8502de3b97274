"""How a training tells what it does, and where it reads time: given from outside, so that the engine has no clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Row = dict[str, float]
Tell = Callable[[int, str, Row], None]
"""tell(steps done, what is being done now, figures of the last step)"""


@dataclass(frozen=True, slots=True)
class Meter:
    """Seconds that pass, and seconds of processor time."""

    wall: Callable[[], float]
    cpu: Callable[[], float]
