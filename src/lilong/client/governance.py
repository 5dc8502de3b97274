"""The client's way to registrations."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

from lilong.client import Client
from lilong.floors.governance.contract import Decision, Profile, Registration

_REGISTRATIONS = "/api/governance/registrations"


def registrations(client: Client) -> list[Registration]:
    return client.get(_REGISTRATIONS, list[Registration])


def registration(client: Client, name: str) -> Registration:
    """By id or number."""
    return client.get(f"{_REGISTRATIONS}/{quote(name, safe='')}", Registration)


def request(client: Client, organisation: str, model: str, profile: str = "house", stack: str = "llama.cpp", key: str = "") -> Registration:
    ask = {"organisation": organisation, "model": model, "profile": profile, "stack": stack, "key": key}
    return client.post(_REGISTRATIONS, ask, Registration)


def review(client: Client, name: str, verdict: Literal["approve", "reject"], comment: str) -> Registration:
    return client.post(f"{_REGISTRATIONS}/{quote(name, safe='')}/reviews", {"verdict": verdict, "comment": comment}, Registration)


def revoke(client: Client, name: str, reason: str) -> Registration:
    return client.post(f"{_REGISTRATIONS}/{quote(name, safe='')}/revocation", {"reason": reason}, Registration)


def decision(client: Client, model: str, profile: str = "house", stack: str = "llama.cpp") -> Decision:
    """How the requirements stand now."""
    return client.get("/api/governance/decision", Decision, model=model, profile=profile, stack=stack)


def profiles(client: Client) -> list[Profile]:
    return client.get("/api/governance/profiles", list[Profile])
