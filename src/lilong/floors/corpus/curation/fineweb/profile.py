"""The rules of `fineweb@datatrove-0.10` over its signals: datatrove's steps, order, limits and reasons, as a policy."""

from __future__ import annotations

from pathlib import Path

from lilong.floors.corpus.curation.fineweb.measure import COLUMNS
from lilong.floors.corpus.curation.policies.policy import Policy, read_policy

STEPS = ("gopher-repetition", "gopher-quality", "c4-quality", "fineweb-quality")


def policy() -> Policy:
    """The shipped policy `fineweb`."""
    return read_policy(Path(__file__).with_name("policy.toml"), COLUMNS)
