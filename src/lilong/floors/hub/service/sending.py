"""From the queue of webhooks to the other side: signed, tried again with growing pauses, written down.

Each delivery goes out at least once, with an id by which a second time can be told; whether its reader may still have it is asked
right before.
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import structlog

from lilong.floors.hub import store as rows
from lilong.floors.hub.contract import GatedRepository, Kind
from lilong.floors.hub.rules import webhooks as rules
from lilong.floors.hub.store import webhooks as store
from lilong.floors.hub.store.webhooks import Delivery, Webhook
from lilong.ground.access import Actor
from lilong.ground.db import Tx
from lilong.ground.errors import LilongError
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

from . import outgoing, reading
from .outgoing import AddressRefused, BadAddress

log = structlog.get_logger("lilong.hub.webhooks")

_EXCERPT = 1000  # bytes of an answer that the log keeps
_PATIENCE = 10.0  # seconds for each step of a delivery
_AT_ONCE = 8
_KEPT = timedelta(days=30)


def may_know(house: House, tx: Tx, hook: Webhook, name: str, *, hidden: bool, held: rows.Held | None, scope: str) -> bool:
    """`scope`: of the event; what is said in a gated repository is for those only who may have its files."""
    organisation, _, short = name.partition("/")
    if hidden and not house.access.allowed(tx, Actor(hook.user), "hub.read", organisation, short):
        return False
    if held is not None and rules.domain_of(scope) == "discussion":
        try:
            reading.readable(house, tx, Actor(hook.user), held)
        except GatedRepository:
            return False
    return True


def deliver_due(house: House, pool: ThreadPoolExecutor | None = None) -> int:
    """Try what is due now, one for each webhook; how many were tried."""
    found = house.db.read(lambda tx: store.due(tx, stamp(house.clock.now()), _AT_ONCE * 4))
    if pool is None:
        for identity in found:
            deliver(house, identity)
    else:
        list(pool.map(lambda identity: deliver(house, identity), found))
    return len(found)


def deliver(house: House, identity: str) -> None:
    """One try, and what came of it."""

    def look(tx: Tx) -> tuple[Delivery, Webhook] | None:
        found = store.delivery(tx, identity)
        hook = store.webhook(tx, found.webhook) if found is not None else None
        if found is None or hook is None or found.state != "waiting":
            return None
        return found, hook

    def may(tx: Tx, found: Delivery, hook: Webhook) -> str:
        if hook.disabled or house.access.user(tx, hook.user).disabled:
            return "The webhook was turned off."
        kind = Kind(json.loads(found.body)["repo"]["type"])
        held = rows.repository(tx, kind, found.subject) or rows.redirect(tx, kind, found.subject)
        hidden = found.hidden or (held is not None and held.repository.private)
        name, scope = found.subject if held is None else held.name, found.event.rpartition(" ")[2]
        knows = may_know(house, tx, hook, name, hidden=hidden, held=held, scope=scope)
        return "" if knows else "Its user may not read the repository any more."

    both = house.db.read(look)
    if both is None:
        return
    found, hook = both
    refused = house.db.read(lambda tx: may(tx, found, hook))
    if refused:
        house.db.write(lambda tx: store.drop(tx, identity, refused, stamp(house.clock.now())))
        return
    began = time.monotonic()
    status, answer, final = _send(house, hook, found)
    took = int((time.monotonic() - began) * 1000)
    now = house.clock.now()
    pause = rules.next_pause(found.attempts + 1)
    if status is not None and rules.taken(status):
        state, next_at = "delivered", now
    elif final or pause is None:
        state, next_at = "failed", now
    else:
        state, next_at = "waiting", now + timedelta(seconds=pause)
    finished = None if state == "waiting" else stamp(now)
    log.info("webhook", delivery=identity, webhook=hook.id, status=status, state=state, ms=took)
    house.db.write(
        lambda tx: store.record(
            tx, identity, state=state, next_at=stamp(next_at), status=status, answer=answer, took_ms=took, finished_at=finished
        )
    )


def _send(house: House, hook: Webhook, found: Delivery) -> tuple[int | None, str, bool]:
    """Status, start of the answer, and whether trying again is of no use."""
    body = found.body.encode()
    headers = {"content-type": "application/json", "x-lilong-delivery": found.id, "x-lilong-event": found.event.replace(" ", ":")}
    if hook.secret:
        headers["x-webhook-secret"] = hook.secret
        headers["x-lilong-signature"] = rules.signature(hook.secret, int(house.clock.now().timestamp()), body)
    allowed = outgoing.allowed_hosts(house)
    try:
        with outgoing.request("POST", hook.url, headers=headers, body=body, allowed=allowed, timeout=_PATIENCE, redirects=False) as reply:
            said = reply.read(_EXCERPT).decode("utf-8", "replace").replace("\0", "\ufffd")
            return reply.status, said, False
    except (AddressRefused, BadAddress) as problem:
        return None, str(problem), True
    except LilongError as problem:
        return None, str(problem), False


class Sender:
    """The thread that sends: woken when something is queued, otherwise when the next try is due."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hub-webhook")
        self._thread = threading.Thread(target=self._run, name="hub-webhooks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout=_PATIENCE)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def wake(self) -> None:
        self._woken.set()

    def _run(self) -> None:
        cleaned = 0.0
        while not self._stop.is_set():
            self._woken.clear()
            wait = 60.0
            try:
                while not self._stop.is_set() and deliver_due(self._house, self._pool):
                    pass
                now = self._house.clock.now()
                if time.monotonic() - cleaned > 3600:
                    cleaned = time.monotonic()
                    self._house.db.write(lambda tx, now=now: store.forget(tx, stamp(now - _KEPT)))  # type: ignore[misc]
                following = self._house.db.read(store.next_due)
                if following is not None:
                    wait = min(60.0, max(0.05, (parse_stamp(following) - now).total_seconds()))
            except Exception as problem:
                if self._stop.is_set():
                    return
                log.error("webhooks not sent", error=repr(problem))
                wait = 5.0
            self._woken.wait(wait)


_SENDERS: dict[int, Sender] = {}


def wake(house: House) -> None:
    """Something was queued."""
    if (sender := _SENDERS.get(id(house))) is not None:
        sender.wake()


def start(house: House) -> None:
    def begin() -> None:
        if house.background:
            sender = Sender(house)
            _SENDERS[id(house)] = sender
            sender.start()

    def end() -> None:
        if (sender := _SENDERS.pop(id(house), None)) is not None:
            sender.stop()

    house.starting.append(begin)
    house.closing.append(end)
