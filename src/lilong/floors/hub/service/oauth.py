"""Programs that act for users: sign-in on a device (RFC 8628), by the browser with PKCE (RFC 7636), and refreshing (RFC 9700).

Every code is known by its hash, lives shortly and works once. A refresh token that comes a second time has been stolen or its answer
was lost: within two minutes the second is taken to be so, after that all that came from the same consent ends.
"""

from __future__ import annotations

import hmac
import threading
from dataclasses import dataclass, replace
from datetime import timedelta

from lilong.floors.hub.rules import oauth as rules
from lilong.floors.hub.store import oauth as store
from lilong.floors.hub.store.oauth import Client, Code, Device, Refresh
from lilong.ground.access import SYSTEM, Actor, hash_secret, within
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.seams import parse_stamp, stamp

# The id that the Hugging Face clients sign in with from a terminal; it can keep no secret, so it is none.
TERMINAL = Client("26be6b09-91c5-47da-9861-d2d2bb7a7e36", "Hugging Face client", None, (), "", "")
INTERVAL = 5  # seconds between two questions of a device
DEVICE_LIVES = timedelta(minutes=15)
_CODE_LIVES = timedelta(minutes=5)
_TERMINAL_LIVES = timedelta(days=30)  # the client refreshes a day before the end
_PROGRAM_LIVES = timedelta(hours=8)
_REFRESH_LIVES = timedelta(days=180)
_LOST_ANSWER = timedelta(minutes=2)
_MOST_DEVICES = 5000


class OAuthError(LilongError):
    """{error}: {description}"""

    status = 400

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error=error, description=description)
        self.error, self.description, self.answer = error, description, status


@dataclass(frozen=True, slots=True)
class Begun:
    device_code: str
    user_code: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Given:
    """Tokens, shown once."""

    access_token: str
    refresh_token: str
    expires_in: int
    words: str
    user: str
    client: str
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """What a program asks a user for."""

    client: Client
    redirect: str
    words: str
    challenge: str
    nonce: str
    state: str


class Limiter:
    """So many tries in so many seconds for each key, in this process."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most, self._seconds = most, seconds
        self._lock = threading.Lock()
        self._seen: dict[str, list[float]] = {}

    def take(self, key: str, now: float) -> bool:
        with self._lock:
            if len(self._seen) > 10_000:
                self._seen = {each: times for each, times in self._seen.items() if times[-1] > now - self._seconds}
            recent = [at for at in self._seen.get(key, ()) if at > now - self._seconds]
            if len(recent) >= self._most:
                return False
            self._seen[key] = [*recent, now]
            return True


_BEGINNING = Limiter(60, 60.0)
_TYPING = Limiter(20, 600.0)  # codes that a user may try: of 2.5 * 10^10
_ASKED: dict[str, float] = {}  # device code's hash -> when it last asked


def client_of(tx: Tx, identity: str) -> Client:
    """Raises OAuthError."""
    found = TERMINAL if identity == TERMINAL.id else store.client(tx, identity)
    if found is None:
        raise OAuthError("invalid_client", "There is no such program here.", 401)
    return found


def check_secret(tx: Tx, identity: str, secret: str | None) -> Client:
    """Raises OAuthError."""
    client = client_of(tx, identity)
    if client.secret_hash is not None and not hmac.compare_digest(client.secret_hash, hash_secret(secret or "")):
        raise OAuthError("invalid_client", "The program's secret is not right.", 401)
    return client


# --- on a device ----------------------------------------------------------------------------------------------------------


def begin(house: House, client: str, words: str, address: str) -> Begun:
    """Raises OAuthError."""
    if not _BEGINNING.take(address, house.clock.monotonic()):
        raise OAuthError("slow_down", "Too many sign-ins were begun from this address. Try again in a minute.", 429)
    device_code = house.ids.secret()
    user_code = rules.user_code(bytes.fromhex(hash_secret(house.ids.secret())))
    now = house.clock.now()

    def write(tx: Tx) -> None:
        found = client_of(tx, client)
        if store.devices_waiting(tx, stamp(now)) >= _MOST_DEVICES:
            raise OAuthError("slow_down", "Too many sign-ins wait for their users. Try again later.", 429)
        asked = rules.known(words) or rules.EVERYTHING
        device = Device(hash_secret(device_code), found.id, asked, "waiting", None, stamp(now), stamp(now + DEVICE_LIVES))
        store.add_device(tx, device, hash_secret(user_code))

    house.db.write(write)
    return Begun(device_code, rules.shown(user_code), int(DEVICE_LIVES.total_seconds()))


def asked_by_device(house: House, actor: Actor, user_code: str) -> tuple[Device, Client]:
    """What waits under a code that somebody typed. Raises NotFound, BadInput."""
    if not _TYPING.take(actor.user, house.clock.monotonic()):
        raise BadInput(field="code", problem="too many codes were tried", way_out="Wait ten minutes.")

    def read(tx: Tx) -> tuple[Device, Client]:
        device = store.device_by_user_code(tx, hash_secret(rules.typed(user_code)))
        if device is None or device.state != "waiting" or parse_stamp(device.expires_at) <= house.clock.now():
            raise NotFound(kind="sign-in with the code", name=user_code[:20])
        return device, client_of(tx, device.client)

    return house.db.read(read)


def decide_device(house: House, actor: Actor, user_code: str, *, approve: bool) -> None:
    """The user lets the device in, or not. Raises NotFound, BadInput, Forbidden."""
    device, _ = asked_by_device(house, actor, user_code)
    if approve:
        _check_within(house, actor, device.words)

    def write(tx: Tx) -> None:
        if not store.set_device(tx, device.code_hash, "waiting", "approved" if approve else "denied", actor.user):
            raise NotFound(kind="sign-in with the code", name=user_code[:20])

    house.db.write(write)


def _check_within(house: House, actor: Actor, words: str) -> None:
    """Nobody lets in a program for more, or for longer, than they are signed in for themselves. Raises BadInput."""
    identity = actor.token
    if identity is None:
        return
    token = house.db.read(lambda tx: house.access.token(tx, identity))
    if token is None or (token.kind == "api" and token.expires_at is not None):
        raise BadInput(field="scope", problem="the token in use ends by itself", way_out="Sign in with your password or a link.")
    if not within(actor.scopes, rules.permissions(words)):
        raise BadInput(
            field="scope", problem="the program asks for more than you are signed in for", way_out="Sign in with your password or a link."
        )


def ask_of_device(house: House, client: str, device_code: str) -> Given:
    """What a device does until its user has decided. Raises OAuthError."""
    hashed = hash_secret(device_code)

    def look(tx: Tx) -> Device:
        device = store.device(tx, hashed)
        if device is None or device.client != client_of(tx, client).id or device.state == "spent":
            raise OAuthError("invalid_grant", "This device code is not known, or was used.")
        if parse_stamp(device.expires_at) <= house.clock.now():
            raise OAuthError("expired_token", "The code has expired. Begin again.")
        return device

    device = house.db.read(look)
    now = house.clock.monotonic()
    last = _ASKED.get(hashed)
    if len(_ASKED) > _MOST_DEVICES:
        _ASKED.clear()
    _ASKED[hashed] = now
    if device.state == "denied":
        raise OAuthError("access_denied", "The user has said no.")
    if device.state == "waiting":
        if last is not None and now - last < INTERVAL - 1:
            raise OAuthError("slow_down", f"Ask every {INTERVAL} seconds.")
        raise OAuthError("authorization_pending", "The user has not decided yet.")

    def write(tx: Tx) -> Given:
        if not store.set_device(tx, hashed, "approved", "spent", device.user):
            raise OAuthError("invalid_grant", "This device code was used.")
        return _give(house, tx, client_of(tx, client), device.user or "", device.words, house.ids.new("consent"))

    given = house.db.write(write)
    _ASKED.pop(hashed, None)
    return given


# --- by the browser -------------------------------------------------------------------------------------------------------


def consent(house: House, client: str, redirect: str) -> Client:
    """The program that sends a browser here, and may have it back at `redirect`. Raises OAuthError, of which the program hears nothing."""

    def read(tx: Tx) -> Client:
        found = client_of(tx, client)
        if not rules.redirect_allowed(redirect, found.redirects):
            raise OAuthError("invalid_request", "The program has not registered the address to which you would be sent.")
        return found

    return house.db.read(read)


def agree(house: House, actor: Actor, asked: Consent) -> str:
    """The code that the browser carries back. Raises BadInput."""
    _check_within(house, actor, asked.words)
    code, now = house.ids.secret(), house.clock.now()
    made = Code(
        hash_secret(code),
        asked.client.id,
        asked.redirect,
        asked.challenge,
        asked.nonce,
        asked.words,
        actor.user,
        stamp(now),
        stamp(now + _CODE_LIVES),
        None,
    )
    house.db.write(lambda tx: store.add_code(tx, made))
    return code


def redeem(house: House, client: str, secret: str | None, code: str, redirect: str, verifier: str) -> Given:
    """Raises OAuthError."""
    now = house.clock.now()

    def write(tx: Tx) -> Given | OAuthError:
        found = check_secret(tx, client, secret)
        kept = store.code(tx, hash_secret(code))
        if kept is None or kept.client != found.id:
            return OAuthError("invalid_grant", "This code is not known.")
        if kept.family is not None:  # somebody else has it too (RFC 6749 section 4.1.2)
            _end(house, tx, kept.family)
            return OAuthError("invalid_grant", "This code was used already.")
        if parse_stamp(kept.expires_at) <= now or kept.redirect != redirect:
            return OAuthError("invalid_grant", "This code has expired, or was given for another address.")
        if verifier and not kept.challenge:  # somebody has taken the challenge off on the way (RFC 9700 section 4.8.2)
            return OAuthError("invalid_grant", "This code was asked for without a code challenge.")
        if (kept.challenge or found.secret_hash is None) and not (kept.challenge and rules.verifies(verifier, kept.challenge)):
            return OAuthError("invalid_grant", "The code verifier is not the one of this code.")
        family = house.ids.new("consent")
        store.spend_code(tx, kept.code_hash, family)
        return replace(_give(house, tx, found, kept.user, kept.words, family), nonce=kept.nonce)

    return _or_raise(house.db.write(write))


def refresh(house: House, client: str, secret: str | None, token: str) -> Given:
    """Raises OAuthError."""
    now = house.clock.now()

    def write(tx: Tx) -> Given | OAuthError:
        found = check_secret(tx, client, secret)
        kept = store.refresh(tx, hash_secret(token))
        if kept is None or kept.client != found.id or kept.revoked_at or parse_stamp(kept.expires_at) <= now:
            return OAuthError("invalid_grant", "This refresh token is unknown, expired or revoked.")
        access = house.access.token(tx, kept.token)
        again = kept.used_at is not None and now - parse_stamp(kept.used_at) > _LOST_ANSWER
        if again or access is None or access.revoked_at or house.access.user(tx, kept.user).disabled:
            _end(house, tx, kept.family)
            return OAuthError("invalid_grant", "This session has ended. Sign in again.")
        store.use_refresh(tx, kept.hash, stamp(now))
        return _give(house, tx, found, kept.user, kept.words, kept.family)

    return _or_raise(house.db.write(write))


def _or_raise(found: Given | OAuthError) -> Given:
    """What must be written down although it is refused cannot be raised inside the transaction."""
    if isinstance(found, OAuthError):
        raise found
    return found


def _give(house: House, tx: Tx, client: Client, user: str, words: str, family: str) -> Given:
    if house.access.user(tx, user).disabled:
        raise OAuthError("access_denied", "The user's account is closed.")
    lives = _TERMINAL_LIVES if client.id == TERMINAL.id else _PROGRAM_LIVES
    token, secret = house.access.add_token(tx, SYSTEM, user, client.title, rules.permissions(words), lives=lives)
    again, now = house.ids.secret(), house.clock.now()
    kept = Refresh(hash_secret(again), family, client.id, words, user, token.id, stamp(now + _REFRESH_LIVES), None, None)
    store.add_refresh(tx, kept, stamp(now))
    return Given(secret, again, int(lives.total_seconds()), words, user, client.id)


def _end(house: House, tx: Tx, family: str) -> None:
    for token in store.end_family(tx, family, stamp(house.clock.now())):
        house.access.revoke_token(tx, SYSTEM, token)


# --- programs of the house ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewClient:
    id: str
    secret: str | None  # shown once; None for a program that can keep none
    title: str
    redirects: tuple[str, ...]


def add_client(house: House, actor: Actor, title: str, redirects: tuple[str, ...], *, public: bool) -> NewClient:
    """For operators: a program with a false address could collect the house's users. Raises BadInput, Forbidden."""
    if not redirects or len(redirects) > 20 or not all(rules.usable_redirect(each) for each in redirects):
        raise BadInput(
            field="redirect_uris", problem="one is not an address to send a browser to", way_out="Use https, or http://127.0.0.1/…."
        )
    if not title.strip() or len(title) > 100:
        raise BadInput(field="name", problem="it is empty or too long", way_out="Give up to 100 characters.")
    secret = None if public else house.ids.secret()
    hashed = hash_secret(secret) if secret else None

    def write(tx: Tx) -> NewClient:
        house.access.require(tx, actor, "house.manage")
        made = Client(house.ids.new("app"), title.strip(), hashed, redirects, actor.user, stamp(house.clock.now()))
        store.add_client(tx, made)
        return NewClient(made.id, secret, made.title, redirects)

    return house.db.write(write)


def clients(house: House, actor: Actor) -> list[Client]:
    def read(tx: Tx) -> list[Client]:
        house.access.require(tx, actor, "house.manage")
        return [replace(each, secret_hash=None) for each in store.clients(tx)]

    return house.db.read(read)


def delete_client(house: House, actor: Actor, identity: str) -> None:
    """Its tokens end with it: it cannot refresh them, and they live for hours. Raises NotFound, Forbidden."""

    def write(tx: Tx) -> None:
        house.access.require(tx, actor, "house.manage")
        if not store.delete_client(tx, identity):
            raise NotFound(kind="program", name=identity[:60])

    house.db.write(write)
