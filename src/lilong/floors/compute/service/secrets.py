"""Secrets of an organisation's jobs: kept sealed, read by nobody, handed to the jobs that name them."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from lilong.floors.compute.contract import JobAsk, SecretChanged
from lilong.floors.compute.rules import asking
from lilong.floors.compute.store import secrets as store
from lilong.ground.access import Actor
from lilong.ground.blobs import sync_folder
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Corrupt, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

KEY_FILE = "secrets.key"
LONGEST = 65_536
ONCE = ""  # as the name of an organisation's secret in JobAsk.secrets: the value was given for this job only
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


class SecretNotFound(NotFound):
    """There is no secret '{name}' in {organisation} that your job could use. Set it with `lilong secret set {name} --organisation {organisation}`."""


class SecretUnreadable(Corrupt):
    """The secret {name} cannot be opened: the house's key for secrets is not the one that sealed it. Put {file} back from a backup, or set the secret again."""


@dataclass(frozen=True, slots=True)
class Secret:
    """`name` only: what it holds is shown to nobody."""

    organisation: str
    name: str
    set_by: str
    set_at: str


def put(house: House, actor: Actor, organisation: str, name: str, value: str) -> Secret:
    """Set or replace a secret. Raises BadInput, Forbidden."""
    _check(name, value)
    sealed = seal(house, organisation, name, value)

    def write(tx: Tx) -> Secret:
        _managed(house, tx, actor, organisation)
        now = stamp(house.clock.now())
        store.put(tx, organisation, name, sealed, actor.user, now)
        house.events.append(tx, actor, SecretChanged(f"{organisation}/{name}", organisation, "set"))
        return Secret(organisation, name, actor.user, now)

    return house.db.write(write)


def listed(house: House, actor: Actor, organisation: str | None = None) -> list[Secret]:
    """The names of those that one's jobs could use."""
    condition, parameters = house.access.visible(actor, "jobs.submit", "s.organisation")
    rows = house.db.read(lambda tx: store.listed(tx, condition, parameters, organisation))
    return [Secret(row["organisation"], row["name"], row["by"], row["at"]) for row in rows]


def remove(house: House, actor: Actor, organisation: str, name: str) -> None:
    """Raises NotFound, Forbidden."""

    def write(tx: Tx) -> None:
        _managed(house, tx, actor, organisation)
        if not store.remove(tx, organisation, name):
            raise NotFound(kind="secret", name=name[:100])
        house.events.append(tx, actor, SecretChanged(f"{organisation}/{name}", organisation, "removed"))

    house.db.write(write)


def _managed(house: House, tx: Tx, actor: Actor, organisation: str) -> None:
    """Raises Forbidden; NotFound where the actor sees nothing of the organisation, be it there or not."""
    if not house.access.allowed(tx, actor, "jobs.read", organisation):
        raise NotFound(kind="organisation", name=organisation[:100])
    house.access.require(tx, actor, "secrets.manage", organisation)
    house.access.organisation(tx, organisation)


def check_named(tx: Tx, ask: JobAsk) -> None:
    """That each secret that a job names is there. Raises SecretNotFound."""
    for name in ask.secrets.values():
        if name != ONCE and store.find(tx, ask.organisation, name) is None:
            raise SecretNotFound(kind="secret", name=name[:100], organisation=ask.organisation)


def give_once(house: House, tx: Tx, job_id: str, values: dict[str, str], by: str) -> None:
    """Keep values for one job only, until it is over. The job names them with ONCE."""
    for name, value in values.items():
        _check(name, value)
        store.put(tx, job_id, name, seal(house, job_id, name, value), by, stamp(house.clock.now()))


def opened(house: House, tx: Tx, job_id: str, ask: JobAsk) -> dict[str, str]:
    """The values that a job's program is given, by the names it knows them by. Raises SecretNotFound, SecretUnreadable."""
    found = {}
    for name, kept in ask.secrets.items():
        owner, stored = (job_id, name) if kept == ONCE else (ask.organisation, kept)
        sealed = store.find(tx, owner, stored)
        if sealed is None:
            raise SecretNotFound(kind="secret", name=stored, organisation=ask.organisation)
        found[name] = unseal(house, owner, stored, sealed)
    return found


# --- sealing ---------------------------------------------------------------------------------------------------------------


def seal(house: House, owner: str, name: str, value: str) -> str:
    """AES-256-GCM (NIST SP 800-38D) under a random nonce of 96 bits, bound to whose secret it is: moved elsewhere it does not open."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(12)
    return base64.b64encode(nonce + AESGCM(_key(house)).encrypt(nonce, value.encode(), f"{owner}/{name}".encode())).decode()


def unseal(house: House, owner: str, name: str, sealed: str) -> str:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    raw = base64.b64decode(sealed)
    try:
        return AESGCM(_key(house)).decrypt(raw[:12], raw[12:], f"{owner}/{name}".encode()).decode()
    except InvalidTag as problem:
        raise SecretUnreadable(name=name, file=house.settings.keys / KEY_FILE) from problem


def _key(house: House) -> bytes:
    """The house's key for secrets, made durably on first use, readable by its owner only."""
    path: Path = house.settings.keys / KEY_FILE
    if not path.exists():
        incoming = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        handle = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(secrets.token_bytes(32)))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):  # somebody was quicker: theirs it is
                os.link(incoming, path)
        finally:
            incoming.unlink()
        sync_folder(path.parent)
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        key = base64.b64decode(path.read_bytes(), validate=True)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise SecretUnreadable(name="that was asked for", file=path)
    return key


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            field="name",
            problem=f"{name[:100]!r} is no name of a secret",
            way_out="Use up to 100 letters, digits and '_', not beginning with a digit.",
        )
    if flaw := asking.flaw(value):
        raise BadInput(field="value", problem=flaw, way_out="Give the secret itself as text.")
    if not value or len(value.encode()) > LONGEST:
        raise BadInput(field="value", problem=f"it is empty, or longer than {LONGEST:,} bytes", way_out="Give the secret itself as text.")
