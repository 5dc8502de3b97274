"""Why a job waits, in words: one sentence for each code. What stands behind it in a case is for `lilong job why` to tell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from lilong.floors.compute.contract import ReasonCode

SENTENCES: Mapping[ReasonCode, str] = MappingProxyType(
    {
        ReasonCode.HELD: "it is held; it goes on when somebody releases it",
        ReasonCode.AFTER: "other jobs must end before it",
        ReasonCode.PAUSED: "an attempt failed; the next begins after a pause",
        ReasonCode.ARRAY_LIMIT: "as many of its array are under way as may be at once",
        ReasonCode.IMPOSSIBLE: "it would not fit if nothing else ran: what it needs is gone since it was taken",
        ReasonCode.QUOTA: "its tenant, or one above, holds all that it may",
        ReasonCode.SITE_DOWN: "no site that could run it answers",
        ReasonCode.MAINTENANCE: "it would run into maintenance",
        ReasonCode.NO_ROOM: "it goes first; what it needs is not free",
        ReasonCode.RESERVED: "a start is reserved for it",
        ReasonCode.WOULD_DELAY: "it cannot start without delaying a reserved start",
        ReasonCode.BEHIND: "others go first",
        ReasonCode.NOT_LOOKED_AT: "it stands further back than decisions look",
        ReasonCode.ENGINE: "it was handed to an engine, in whose own queue it waits",
    }
)
_OF_THE_CORE = {
    "impossible": ReasonCode.IMPOSSIBLE,
    "quota": ReasonCode.QUOTA,
    "maintenance": ReasonCode.MAINTENANCE,
    "no_room": ReasonCode.NO_ROOM,
    "reserved": ReasonCode.RESERVED,
    "would_delay": ReasonCode.WOULD_DELAY,
    "behind": ReasonCode.BEHIND,
    "not_looked_at": ReasonCode.NOT_LOOKED_AT,
}


def code(reason: str, *, reserved: bool, reachable: bool) -> ReasonCode:
    """Of a word of `decide.Reason`, the gravest that applies. `reserved`: it has been promised a start. `reachable`: a site that could run it answers."""
    if not reachable:
        return ReasonCode.SITE_DOWN
    found = _OF_THE_CORE[reason]
    return ReasonCode.RESERVED if reserved and found in (ReasonCode.WOULD_DELAY, ReasonCode.BEHIND) else found
