"""Who may ask for what, and how much at once: decided from the snapshot and a few counters, in constant time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from lilong.floors.serving.contract import Deployment, Key, Snapshot
from lilong.floors.serving.gateway import refusals


def authenticate(snapshot: Snapshot, authorization: bytes | None, now: float) -> Key:
    """The key of a bearer token. Looked up by its SHA-256, so the cost does not depend on the token. Raises Refusal (401)."""
    if authorization is None:
        raise refusals.unauthenticated("No token came with this request.")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not token:
        raise refusals.unauthenticated("The Authorization header does not hold a bearer token.")
    key = snapshot.keys.get(hashlib.sha256(token.strip()).hexdigest())
    if key is None:
        raise refusals.unauthenticated("This token is not known here, or it was revoked.")
    if key.expires is not None and key.expires <= now:
        raise refusals.unauthenticated("This token has expired.")
    return key


def payer(key: Key, wanted: str | None) -> str | None:
    """The organisation a request is made for: the one named in the OpenAI-Organization header, else left to the deployment (None).

    Raises Refusal (403) where the key does not work for it, or works for nobody.
    """
    if not key.organisations and not key.everywhere:
        raise refusals.forbidden("This token may not use models. It needs the scope 'serving.use', and its user a role that has it.")
    if wanted is not None and wanted not in key.organisations and not key.everywhere:
        raise refusals.forbidden(f"This token may not ask for the organisation '{wanted}'.")
    return wanted


def choose(snapshot: Snapshot, key: Key, model: str, wanted: str | None) -> tuple[Deployment, str]:
    """The deployment behind a served name, and who pays. What a key may not see is as if it were not there. Raises Refusal."""
    deployment = snapshot.deployments.get(model)
    paying = payer(key, wanted)
    if deployment is None or not _sees(key, deployment, paying):
        raise refusals.unknown_model(model)
    if key.models is not None and model not in key.models:
        raise refusals.token_not_for(model)
    if paying is None:  # without a word from the client: its owner where the key works for it too, else the key's first
        mine = key.everywhere or deployment.organisation in key.organisations
        paying = deployment.organisation if mine else key.organisations[0]
    return deployment, paying


def choose_ready(snapshot: Snapshot, key: Key, model: str, wanted: str | None) -> tuple[Deployment, str]:
    """Like `choose`; raises Refusal (503) where the model server does not answer yet."""
    deployment, paying = choose(snapshot, key, model, wanted)
    if not deployment.ready:
        raise refusals.not_ready(model, "its model server is starting")
    return deployment, paying


def visible(snapshot: Snapshot, key: Key, wanted: str | None) -> list[Deployment]:
    """The deployments a key may ask for, by name. Raises Refusal."""
    paying = payer(key, wanted)
    return [
        each
        for name, each in sorted(snapshot.deployments.items())
        if _sees(key, each, paying) and (key.models is None or name in key.models)
    ]


def _sees(key: Key, deployment: Deployment, paying: str | None) -> bool:
    if paying is not None:
        return deployment.seen_by(paying)
    return deployment.shared or key.everywhere or deployment.organisation in key.organisations


@dataclass(slots=True)
class Bucket:
    """A token bucket that holds one minute's requests."""

    left: float
    at: float

    def take(self, per_minute: int, now: float) -> float:
        """0 where a request may go now; else the seconds until one may."""
        self.left = min(float(per_minute), self.left + (now - self.at) * per_minute / 60)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) * 60 / per_minute


@dataclass(slots=True)
class Admission:
    """Counts what is in flight by token and by deployment. One event loop; `leave` must follow every `enter`."""

    by_token: dict[str, int] = field(default_factory=dict)
    by_deployment: dict[str, int] = field(default_factory=dict)
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def enter(self, key: Key, deployment: Deployment, now: float) -> None:
        """Raises Refusal (429) where the token or the model has its fill. `now` is monotonic."""
        mine = self.by_token.get(key.token, 0)
        if key.parallel is not None and mine >= key.parallel:
            raise refusals.too_many(f"This token has {mine} requests in flight and may have {key.parallel}.", 1)
        waiting = self.by_deployment.get(deployment.id, 0)
        if waiting >= deployment.parallel + deployment.queue:
            raise refusals.too_many(f"The queue of '{deployment.model}' is full ({waiting} requests).", 1 + waiting // 16)
        if key.per_minute is not None:
            bucket = self.buckets.get(key.token)
            if bucket is None:
                bucket = self.buckets[key.token] = Bucket(float(key.per_minute), now)
            wait = bucket.take(key.per_minute, now)
            if wait:
                raise refusals.too_many(f"This token may send {key.per_minute} requests a minute.", max(1, round(wait + 0.5)))
        self.by_token[key.token] = mine + 1
        self.by_deployment[deployment.id] = waiting + 1

    def leave(self, key: Key, deployment: Deployment) -> None:
        _lower(self.by_token, key.token)
        _lower(self.by_deployment, deployment.id)


def _lower(counts: dict[str, int], name: str) -> None:
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]
