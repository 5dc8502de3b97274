"""By when a data-rights request is due, and what an answer must say. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from lilong.floors.corpus.alliance.shapes import RightsAnswer, RightsAsk, RightsRequest, RightsState
from lilong.ground.errors import BadInput
from lilong.ground.seams import parse_stamp, stamp

TERM = timedelta(days=30)
"""Within which a request is answered: the month of the GDPR, article 12(3)."""
_LONGEST = 10_000
_LAST = datetime.max.replace(tzinfo=UTC) - TERM


def dates(ask: RightsAsk, now: datetime) -> tuple[str, str]:
    """When it was received, and when it is due. Raises BadInput."""
    if not 0 < len(ask.subject.strip()) <= 1_000:
        raise BadInput(
            field="subject", problem="it is empty or longer than 1,000 characters", way_out="Give what the person can be found by."
        )
    if len(ask.note) > _LONGEST:
        raise BadInput(field="note", problem=f"it has {len(ask.note):,} characters", way_out=f"Give {_LONGEST:,} at the most.")
    received = min(_time("received_at", ask.received_at), _LAST) if ask.received_at else now
    due = _time("due_at", ask.due_at) if ask.due_at else received + TERM
    if received > now or due <= received:
        raise BadInput(
            field="due_at" if due <= received else "received_at",
            problem="the times are not in order",
            way_out="It is received, now or before, and then due.",
        )
    return stamp(received), stamp(due)


def _time(field: str, text: str) -> datetime:
    """A day or an instant, in UTC."""
    try:
        at = parse_stamp(text)
        return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise BadInput(
            field=field, problem=f"{text[:40]!r} is no time", way_out="Write it as 2026-01-31, or 2026-01-31T12:00:00Z."
        ) from None


def check_answer(given: RightsAnswer) -> None:
    """Raises BadInput."""
    if given.state is RightsState.OPEN:
        raise BadInput(field="state", problem="an answer closes the request", way_out="Give fulfilled or refused.")
    if not 0 < len(given.answer.strip()) <= _LONGEST:
        raise BadInput(
            field="answer", problem=f"it is empty or longer than {_LONGEST:,} characters", way_out="Say what was done, or why not."
        )


def told(row: RightsRequest, now: datetime) -> RightsRequest:
    """With whether it is overdue."""
    return replace(row, overdue=row.state is RightsState.OPEN and row.due_at < stamp(now))
