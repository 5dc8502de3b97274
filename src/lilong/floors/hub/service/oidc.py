"""Identity tokens: the house's own for programs, and those of jobs elsewhere that stand for a user on one repository (RFC 8693)."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lilong.floors.hub.rules import jws
from lilong.floors.hub.rules import oauth as rules
from lilong.floors.hub.store import oauth as store
from lilong.floors.hub.store.oauth import Publisher
from lilong.ground.access import SYSTEM, Actor, Token, User, within
from lilong.ground.blobs import write_durably
from lilong.ground.db import Tx
from lilong.ground.errors import BadInput, Forbidden, LilongError, NotFound
from lilong.ground.house import House
from lilong.ground.seams import stamp

from . import outgoing, users
from .oauth import Given, Limiter, OAuthError
from .users import Membership

_LIVES = timedelta(hours=1)
_KEYS_LIVE = 600.0  # seconds for which another issuer's keys are remembered
_LARGEST = 1 << 20  # bytes of what an issuer answers
_EXCHANGES = Limiter(120, 60.0)
_known: dict[str, tuple[float, list[Mapping[str, Any]]]] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class About:
    """The user behind a token, as far as it was let to know."""

    user: User
    memberships: tuple[Membership, ...]
    words: str


def key(house: House) -> tuple[ec.EllipticCurvePrivateKey, str]:
    """The key that signs the house's identity tokens, and its id; made on first use."""
    path = house.settings.keys / "hub-identity.pem"
    if not path.exists():
        made = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        write_durably(path, made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain), 0o600)
    return _loaded(path)


@lru_cache(maxsize=16)
def _loaded(path: Path) -> tuple[ec.EllipticCurvePrivateKey, str]:
    private = serialization.load_pem_private_key(path.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return private, jws.public(private, "")["x"][:16]


def identity_token(house: House, given: Given, issuer: str) -> str:
    """What a program that asked for `openid` learns of the user."""
    about = known_of(house, given.user, given.words)
    now = int(house.clock.now().timestamp())
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": given.user,
        "aud": given.client,
        "iat": now,
        "auth_time": now,
        "exp": now + given.expires_in,
    }
    if given.nonce:
        claims["nonce"] = given.nonce
    private, identity = key(house)
    return jws.sign(private, identity, {**claims, **shown(about, issuer)})


def known_of(house: House, user: str, words: str) -> About:
    def read(tx: Tx) -> About:
        return About(house.access.user(tx, user), users.memberships(house, tx, user), words)

    return house.db.read(read)


def about(house: House, actor: Actor) -> About:
    """Who is behind a token, for the program that holds it; one's own token tells all."""
    token = actor.token
    words = house.db.read(lambda tx: store.words_of_token(tx, token)) if token else None
    return known_of(house, actor.user, words if words is not None else "openid profile email")


def shown(about: About, issuer: str) -> dict[str, Any]:
    """OpenID Connect's claims on a user, with the public Hub's own."""
    words, user = about.words.split(), about.user
    claims: dict[str, Any] = {"sub": user.name}
    if "profile" in words:
        claims |= {
            "name": user.title, "preferred_username": user.name, "profile": f"{issuer}/{user.name}", "picture": f"{issuer}/api/avatars/{user.name}",
            "website": "", "isPro": False, "canPay": False,
            "orgs": [
                {
                    "sub": each.organisation.name, "name": each.organisation.title, "preferred_username": each.organisation.name,
                    "picture": f"{issuer}/api/avatars/{each.organisation.name}", "roleInOrg": each.role,
                }
                for each in about.memberships
            ],
        }  # fmt: skip
    if "email" in words and user.email:
        claims |= {"email": user.email, "email_verified": False}
    return claims


# --- jobs elsewhere -------------------------------------------------------------------------------------------------------


def publish(house: House, actor: Actor, resource: str, issuer: str, claims: Mapping[str, str]) -> Publisher:
    """Let jobs with these claims write to a repository (or read what one may read) in one's own name. Raises BadInput, NotFound, Forbidden."""
    scopes = rules.targets(resource)
    way_out = "Give namespace/name, datasets/namespace/name, or your own name."
    if not scopes:
        raise BadInput(field="resource", problem="it is neither a repository nor a user", way_out=way_out)
    issuer = outgoing.check_url(issuer)
    if not claims or len(claims) > 20 or not all(isinstance(value, str) and 0 < len(value) <= 300 for value in claims.values()):
        raise BadInput(
            field="claims", problem="there are none, or one is not a text", way_out='Give at least one, such as {"repository": "…"}.'
        )
    if actor.token is not None and not within(actor.scopes, scopes):
        raise Forbidden(permission=" ".join(scopes), actor=f"the token of {actor.user}", scope="this token")

    def write(tx: Tx) -> Publisher:
        parts = resource.split("/")
        if len(parts) > 1:
            organisation, name = parts[-2], parts[-1]
            hidden = NotFound(kind="repository", name=resource[:200])
            house.access.require(tx, actor, "hub.manage", organisation, name=name, hidden=hidden)
        elif resource != actor.user:
            raise BadInput(field="resource", problem="it is neither a repository nor you", way_out=way_out)
        made = Publisher(house.ids.new("publisher"), resource, issuer, dict(claims), actor.user, stamp(house.clock.now()))
        store.add_publisher(tx, made)
        return made

    return house.db.write(write)


def publishers(house: House, actor: Actor) -> list[Publisher]:
    return house.db.read(lambda tx: store.publishers(tx, user=actor.user))


def withdraw(house: House, actor: Actor, identity: str) -> None:
    """Raises NotFound."""

    def write(tx: Tx) -> None:
        if identity not in {each.id for each in store.publishers(tx, user=actor.user)}:
            raise NotFound(kind="publisher", name=identity[:60])
        store.delete_publisher(tx, identity)

    house.db.write(write)


def exchange(house: House, resource: str, subject_token: str, audience: str, address: str) -> tuple[str, int, Token]:
    """A token that lives an hour, for a job's identity token: its secret and its seconds. Raises OAuthError."""
    if not _EXCHANGES.take(address, house.clock.monotonic()):
        raise OAuthError("slow_down", "Too many tokens were asked for from this address.", 429)
    refused = OAuthError("invalid_grant", "No publisher of this resource trusts this identity token.")
    try:
        token = jws.read(subject_token)
    except jws.NotSigned:
        raise OAuthError("invalid_request", "The subject token is not a signed identity token.") from None
    issuer = str(token.claims.get("iss", "")).rstrip("/")
    trusting = [
        each
        for each in house.db.read(lambda tx: store.publishers(tx, resource=resource))
        if each.issuer == issuer and all(_claimed(token.claims, name, value) for name, value in each.claims.items())
    ]
    if not trusting:
        raise refused
    if not _claimed(token.claims, "aud", audience):
        raise OAuthError("invalid_grant", f"The identity token is not for {audience}: ask for that audience.")
    if not jws.about_now(token.claims, house.clock.now().timestamp()):
        raise OAuthError("invalid_grant", "The identity token has expired.")
    _check(house, issuer, token)

    def write(tx: Tx) -> tuple[str, int, Token]:
        user = trusting[0].user
        if house.access.user(tx, user).disabled:
            raise refused
        made, secret = house.access.add_token(tx, SYSTEM, user, f"job for {resource}"[:100], rules.targets(resource), lives=_LIVES)
        return secret, int(_LIVES.total_seconds()), made

    return house.db.write(write)


def _claimed(claims: Mapping[str, Any], name: str, value: str) -> bool:
    said = claims.get(name)
    if name != "aud":
        return bool(said == value)
    return value.rstrip("/") in [str(each).rstrip("/") for each in (said if isinstance(said, list) else [said])]


def _check(house: House, issuer: str, token: jws.Read) -> None:
    """Raises OAuthError."""
    for fresh in (False, True):  # a key may be newer than what is remembered
        try:
            jws.check(token, _keys_of(house, issuer, fresh=fresh))
            return
        except jws.NotSigned:
            continue
        except (LilongError, ValueError) as problem:
            raise OAuthError("invalid_grant", f"The keys of the issuer could not be had: {problem}"[:300]) from problem
    raise OAuthError("invalid_grant", "The signature of the identity token is not its issuer's.")


def _keys_of(house: House, issuer: str, *, fresh: bool) -> list[Mapping[str, Any]]:
    now = house.clock.monotonic()
    with _lock:
        known = _known.get(issuer)
    # Asking again for every unknown key would let anyone send us to the issuer as often as they like.
    if known is not None and now - known[0] < (30.0 if fresh else _KEYS_LIVE):
        return known[1]
    described = _json(house, f"{issuer}/.well-known/openid-configuration")
    if str(described.get("issuer", "")).rstrip("/") != issuer:
        raise ValueError("it describes itself as another issuer")
    keys = _json(house, str(described.get("jwks_uri", ""))).get("keys")
    found: list[Mapping[str, Any]] = [each for each in keys if isinstance(each, dict)] if isinstance(keys, list) else []
    with _lock:
        _known[issuer] = (now, found)
    return found


def _json(house: House, url: str) -> dict[str, Any]:
    with outgoing.request("GET", outgoing.check_url(url), allowed=outgoing.allowed_hosts(house), timeout=10.0) as reply:
        body = reply.all(_LARGEST)
    value = json.loads(body) if reply.status == 200 else None
    if not isinstance(value, dict):
        raise ValueError("its answer is not a JSON object")
    return value
