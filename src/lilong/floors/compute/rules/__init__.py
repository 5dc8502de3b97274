"""The floor's decisions that need neither clock nor disk. Pure."""

from lilong.floors.compute.rules.asking import ask_digest, ask_json, check
from lilong.floors.compute.rules.settling import FIRST_PAUSE_S, LONGEST_PAUSE_S, Verdict, pause, settle

__all__ = [
    "FIRST_PAUSE_S",
    "LONGEST_PAUSE_S",
    "Verdict",
    "ask_digest",
    "ask_json",
    "check",
    "pause",
    "settle",
]
