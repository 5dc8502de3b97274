"""What the profile asks of a code point that ends a line or stands in a citation, as one bit set each."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

import numpy as np
import numpy.typing as npt

TERMINAL, DECIMAL = 1, 2
"""Ends a FineWeb line; is what \\d means in Python."""


@cache
def classes() -> npt.NDArray[np.uint8]:
    """The bits of every code point up to the last that has any, and one entry without any for all above."""
    lists = json.loads(resources.files(__package__).joinpath("characters.json").read_text("ascii"))
    ranges = [
        (bit, *(int(code, 16) for code in run.split("-")))
        for name, bit in (("terminal", TERMINAL), ("decimal", DECIMAL))
        for run in lists[name].split()
    ]
    table = np.zeros(max(run[-1] for run in ranges) + 2, np.uint8)
    for bit, *run in ranges:
        table[run[0] : run[-1] + 1] |= bit
    return table
