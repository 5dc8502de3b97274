"""Accounts and the state of the house, as verbs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from lilong import __version__
from lilong.ground import log
from lilong.ground.access import Actor, Organisation, Token, User, hash_password, signed_in, spelled
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Unavailable
from lilong.ground.events import SqlNodes
from lilong.ground.house import House
from lilong.ground.presence import running
from lilong.ground.seams import stamp

_LONGEST_DAYS = 3660


@dataclass(frozen=True, slots=True)
class UserAsk:
    name: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class OrganisationAsk:
    name: str
    title: str = ""
    controlled_by: str | None = None


@dataclass(frozen=True, slots=True)
class GrantAsk:
    user: str
    role: str
    organisation: str | None = None


@dataclass(frozen=True, slots=True)
class TokenAsk:
    """`scopes`: permissions or patterns, each with `@namespace` or `@namespace/repository` for a part; read, discuss, write and admin are the hub's."""

    title: str
    user: str | None = None
    scopes: tuple[str, ...] = ("*",)
    days: int | None = None
    expires: str | None = None  # instead of days: 12h, 30d, or the day (UTC) on which it ends


@dataclass(frozen=True, slots=True)
class NewToken:
    token: Token
    secret: str  # shown once


@dataclass(frozen=True, slots=True)
class PasswordAsk:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkAsk:
    user: str


@dataclass(frozen=True, slots=True)
class Link:
    url: str  # works once, within a day


@dataclass(frozen=True, slots=True)
class Membership:
    organisation: str
    role: str


@dataclass(frozen=True, slots=True)
class WhoAmI:
    user: str
    scopes: tuple[str, ...]
    memberships: tuple[Membership, ...]


@dataclass(frozen=True, slots=True)
class Parked:
    """A delivery given up after its last try."""

    subscription: str
    seq: int
    error: str
    at: str


@dataclass(frozen=True, slots=True)
class Status:
    name: str
    version: str
    database: str
    events: int
    statements: int
    log_root: str
    sandbox: tuple[str, ...]
    jobs: dict[str, int]
    parked: tuple[Parked, ...]
    at: str


def who_am_i(house: House, actor: Actor) -> WhoAmI:
    memberships = house.db.read(lambda tx: house.access.organisations_of(tx, actor.user))
    return WhoAmI(actor.user, tuple(sorted(actor.scopes)), tuple(Membership(*pair) for pair in memberships))


def add_user(house: House, actor: Actor, ask: UserAsk) -> User:
    return house.db.write(lambda tx: house.access.add_user(tx, actor, ask.name, ask.title))


def users(house: House, actor: Actor) -> list[User]:
    def read(tx: Tx) -> list[User]:
        house.access.require(tx, actor, "house.read")
        return house.access.users(tx)

    return house.db.read(read)


def add_organisation(house: House, actor: Actor, ask: OrganisationAsk) -> Organisation:
    return house.db.write(lambda tx: house.access.add_organisation(tx, actor, ask.name, ask.title, ask.controlled_by))


def organisations(house: House, actor: Actor) -> list[Organisation]:
    return house.db.read(lambda tx: house.access.organisations(tx, actor))


def grant(house: House, actor: Actor, ask: GrantAsk) -> GrantAsk:
    house.db.write(lambda tx: house.access.grant(tx, actor, ask.user, ask.role, ask.organisation))
    return ask


def add_token(house: House, actor: Actor, ask: TokenAsk) -> NewToken:
    """Raises BadInput, Forbidden (never wider than the token in hand)."""
    lives = _lifetime(house, ask)
    scopes = spelled(ask.scopes)
    return NewToken(*house.db.write(lambda tx: house.access.add_token(tx, actor, ask.user or actor.user, ask.title, scopes, lives=lives)))


def _lifetime(house: House, ask: TokenAsk) -> timedelta | None:
    days, lives = ask.days, None
    if ask.expires is not None and days is None:
        text = ask.expires.strip().lower()
        if text[:-1].isdecimal() and len(text) < 9 and text[-1:] in ("h", "d"):
            lives = timedelta(hours=int(text[:-1])) if text.endswith("h") else timedelta(days=int(text[:-1]))
        else:
            try:
                lives = datetime.combine(date.fromisoformat(text), time.min, UTC) - house.clock.now()
            except ValueError:
                raise BadInput(field="expires", problem=f"{ask.expires[:40]!r} is neither a time nor a day", way_out="Give 12h, 30d or 2027-01-31.") from None
        if not timedelta(minutes=1) <= lives <= timedelta(days=_LONGEST_DAYS):
            raise BadInput(field="expires", problem="that is past, or too far away", way_out="Leave it away for a token that does not expire.")
    elif days is not None:
        if not 1 <= days <= _LONGEST_DAYS:
            raise BadInput(field="days", problem=f"{days} is not between 1 and {_LONGEST_DAYS}", way_out="Leave it away for a token that does not expire.")
        lives = timedelta(days=days)
    return lives


def set_password(house: House, actor: Actor, ask: PasswordAsk) -> User:
    """Raises BadInput for one that is too short."""
    made = hash_password(ask.password)  # slow on purpose, so before the writer's turn

    def write(tx: Tx) -> User:
        house.access.set_password(tx, actor, ask.user, made)
        return house.access.user(tx, ask.user)

    return house.db.write(write)


def add_link(house: House, actor: Actor, ask: LinkAsk) -> Link:
    """A sign-in link for oneself, or for anyone by an operator. Raises Unavailable where no server could answer it."""
    server = running(house.settings.house)
    if server is None:
        raise Unavailable(what="A sign-in link", problem="no server has this house open", way_out="Start one with `lilong up`.")
    lives = timedelta(days=1)
    secret = house.db.write(lambda tx: house.access.add_token(tx, actor, ask.user, "sign-in link", kind="link", lives=lives)[1])
    return Link(f"{server.url}/sign-in/{secret}")


def tokens(house: House, actor: Actor) -> list[Token]:
    return house.db.read(lambda tx: house.access.tokens(tx, actor, actor.user))


def revoke_token(house: House, actor: Actor, token: str) -> None:
    house.db.write(lambda tx: house.access.revoke_token(tx, actor, token))


def sign_in(house: House, secret: str) -> str:
    """Spend a sign-in link; the secret of a session that lives a week."""

    def spend(tx: Tx) -> str:
        actor = house.access.use_link(tx, secret)
        return house.access.add_token(tx, actor, actor.user, "session", kind="session", lives=timedelta(days=7))[1]

    return house.db.write(spend)


def sign_in_with_password(house: House, name: str, password: str) -> str:
    actor = signed_in(name, house.db.read(lambda tx: house.access.password_of(tx, name)), password)
    return house.db.write(lambda tx: house.access.add_token(tx, actor, actor.user, "session", kind="session", lives=timedelta(days=7))[1])


def status(house: House, actor: Actor) -> Status:
    def read(tx: Tx) -> Status:
        house.access.require(tx, actor, "house.read")
        from lilong.floors.compute.store import counts
        from lilong.ground import sandbox

        size = house.events.size(tx)
        jobs = {state: number for state, number in counts(tx).items() if number}
        parked = tuple(Parked(**row) for row in tx.rows("SELECT subscription, seq, error, at FROM ground_parked ORDER BY at DESC LIMIT 20"))
        return Status(
            name=house.settings.name,
            version=__version__,
            database=tx.dialect,
            events=size,
            statements=int(tx.value("SELECT COUNT(*) FROM ground_statements")),
            log_root=log.root(SqlNodes(tx), size).hex(),
            sandbox=tuple(level.word for level in sandbox.available()),
            jobs=jobs,
            parked=parked,
            at=stamp(house.clock.now()),
        )

    return house.db.read(read)
