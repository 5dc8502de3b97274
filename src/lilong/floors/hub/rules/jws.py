"""JSON Web Signatures as OpenID Connect uses them: compact form, ES256 and RS256 (RFC 7515, RFC 7518), nothing else.

`none` and the symmetric algorithms are not here, so no header can ask for them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

LONGEST = 16_384  # characters
_HALF = 32  # bytes of r and of s in ES256


class NotSigned(ValueError):
    """It is not a token that these keys have signed."""


@dataclass(frozen=True, slots=True)
class Read:
    """A token taken apart, not yet believed."""

    algorithm: str
    key: str  # the id of the key
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Raises NotSigned."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise NotSigned("not base64url") from problem


def sign(key: ec.EllipticCurvePrivateKey, identity: str, claims: Mapping[str, Any]) -> str:
    header = {"alg": "ES256", "kid": identity, "typ": "JWT"}
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(dict(claims)).encode())}"
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{signed}.{encoded(r.to_bytes(_HALF, 'big') + s.to_bytes(_HALF, 'big'))}"


def read(token: str) -> Read:
    """Raises NotSigned."""
    parts = token.split(".")
    if len(token) > LONGEST or len(parts) != 3 or not token.isascii():
        raise NotSigned("not three parts")
    try:
        header, claims = json.loads(decoded(parts[0])), json.loads(decoded(parts[1]))
    except (ValueError, RecursionError) as problem:
        raise NotSigned("not JSON") from problem
    if not isinstance(header, dict) or not isinstance(claims, dict) or "crit" in header:
        raise NotSigned("not objects")
    return Read(str(header.get("alg")), str(header.get("kid", "")), claims, f"{parts[0]}.{parts[1]}".encode(), decoded(parts[2]))


def check(token: Read, keys: Sequence[Mapping[str, Any]]) -> None:
    """Against the keys of a JWK set (RFC 7517). Raises NotSigned."""
    for key in keys:
        if (token.key and key.get("kid") not in (None, token.key)) or key.get("use", "sig") != "sig":
            continue
        try:
            if token.algorithm == "ES256" and key.get("kty") == "EC" and key.get("crv") == "P-256" and len(token.signature) == 2 * _HALF:
                point = ec.EllipticCurvePublicNumbers(_number(key, "x"), _number(key, "y"), ec.SECP256R1()).public_key()
                both = token.signature[:_HALF], token.signature[_HALF:]
                point.verify(encode_dss_signature(*(int.from_bytes(half, "big") for half in both)), token.signed, ec.ECDSA(hashes.SHA256()))
                return
            if token.algorithm == "RS256" and key.get("kty") == "RSA":
                numbers = rsa.RSAPublicNumbers(_number(key, "e"), _number(key, "n"))
                if numbers.n.bit_length() < 2048:
                    continue
                numbers.public_key().verify(token.signature, token.signed, padding.PKCS1v15(), hashes.SHA256())
                return
        except (InvalidSignature, ValueError, TypeError):
            continue
    raise NotSigned("no key fits")


def _number(key: Mapping[str, Any], field: str) -> int:
    value = key.get(field)
    if not isinstance(value, str):
        raise NotSigned(f"no {field}")
    return int.from_bytes(decoded(value), "big")


def public(key: ec.EllipticCurvePrivateKey, identity: str) -> dict[str, str]:
    """The public half as a JWK."""
    numbers = key.public_key().public_numbers()
    x, y = (encoded(number.to_bytes(_HALF, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": identity, "x": x, "y": y}


def about_now(claims: Mapping[str, Any], now: float, slack: float = 60.0) -> bool:
    """Not expired, and not from the future; a token that never ends is none."""

    def number(field: str) -> float | None:
        value = claims.get(field)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    ends, begins = number("exp"), number("nbf")
    return ends is not None and now < ends + slack and (begins is None or begins <= now + slack)
