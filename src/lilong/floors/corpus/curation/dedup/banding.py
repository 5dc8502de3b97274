"""How near duplicates are found: bands of rows of a MinHash signature over shingles of words."""

from __future__ import annotations

from dataclasses import dataclass

from lilong.ground.errors import BadInput


@dataclass(frozen=True, slots=True)
class Banding:
    """How near duplicates are found. The defaults are FineWeb's: half of the pairs meet at a Jaccard index of about 0.68."""

    words: int = 5
    bands: int = 14
    rows: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        for name, most in (("words", 64), ("bands", 1024), ("rows", 1024), ("seed", (1 << 32) - 1)):
            value = getattr(self, name)
            if not (0 if name == "seed" else 1) <= value <= most:
                raise BadInput(field=name, problem=f"{value} is out of range", way_out=f"Give a number up to {most}.")

    @property
    def permutations(self) -> int:
        """Entries of a signature."""
        return self.bands * self.rows

    def meeting(self, jaccard: float) -> float:
        """Probability that a pair with this Jaccard index meets in at least one band (the S-curve)."""
        return 1.0 - (1.0 - jaccard**self.rows) ** self.bands


FINEWEB = Banding()
