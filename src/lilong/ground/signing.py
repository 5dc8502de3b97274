"""Signing keys: one for the house, one for each person or organisation that signs, one that model-signing's tools accept.

Private keys are files of mode 0600 in the house's `keys/` folder, made on first use, durably, and never logged. Their names come
from hashes, so that no name chosen by a user becomes a path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from lilong.ground.blobs import sync_folder
from lilong.ground.errors import Corrupt
from lilong.ground.seams import Clock, stamp

HOUSE = "house"
Algorithm = Literal["ed25519", "ecdsa-p256"]


class BadKey(Corrupt):
    """{place} does not hold a key that can be used: {problem}."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks signatures. `keyid`: hex SHA-256 of its SubjectPublicKeyInfo in DER; `pem`: the same in PEM."""

    keyid: str
    holder: str
    algorithm: Algorithm
    pem: str

    @classmethod
    def of(cls, holder: str, key: Ed25519PublicKey | ec.EllipticCurvePublicKey) -> PublicKey:
        info = serialization.PublicFormat.SubjectPublicKeyInfo
        keyid = hashlib.sha256(key.public_bytes(serialization.Encoding.DER, info)).hexdigest()
        algorithm: Algorithm = "ed25519" if isinstance(key, Ed25519PublicKey) else "ecdsa-p256"
        return cls(keyid, holder, algorithm, key.public_bytes(serialization.Encoding.PEM, info).decode())

    @classmethod
    def from_pem(cls, holder: str, pem: str) -> PublicKey:
        """Raises BadKey."""
        try:
            key = serialization.load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm) as cause:
            raise BadKey(place=f"the public key of {holder}", problem="it is not PEM") from cause
        if not isinstance(key, Ed25519PublicKey) and not (isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"):
            raise BadKey(place=f"the public key of {holder}", problem="it is neither Ed25519 nor EC P-256")
        return cls.of(holder, key)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        key = serialization.load_pem_public_key(self.pem.encode())
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, message)
            elif isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(signature, message, ec.ECDSA(hashes.SHA256()))
            else:
                return False
        except InvalidSignature:
            return False
        return True

    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key, as signed notes write it. Raises BadKey for another kind."""
        key = serialization.load_pem_public_key(self.pem.encode())
        if not isinstance(key, Ed25519PublicKey):
            raise BadKey(place=f"the key {self.keyid}", problem="it is not Ed25519")
        return key.public_bytes_raw()


@dataclass(frozen=True, slots=True)
class Signer:
    """Who can sign (Ed25519). The private key never shows in a repr."""

    public: PublicKey
    private: Ed25519PrivateKey = field(repr=False)

    @property
    def holder(self) -> str:
        return self.public.holder

    @property
    def keyid(self) -> str:
        return self.public.keyid

    def sign(self, message: bytes) -> bytes:
        return self.private.sign(message)


class Keyring:
    """The private keys of a house, in a folder that only the house's own user can read."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock

    def house(self) -> Signer:
        return self.of(HOUSE)

    def of(self, holder: str) -> Signer:
        """The signing key of a person or organisation (a name of the access tables such as `mei` or `@harbour-lab`), made on first use."""
        private = self._key(holder, "ed25519", Ed25519PrivateKey.generate)
        if not isinstance(private, Ed25519PrivateKey):
            raise BadKey(place=f"the key file of {holder}", problem="it is not an Ed25519 key")
        return Signer(PublicKey.of(holder, private.public_key()), private)

    def models(self) -> ec.EllipticCurvePrivateKey:
        """The EC P-256 key for `model.sig` files: OpenSSF model-signing's key method takes no Ed25519."""
        private = self._key(HOUSE, "p256", lambda: ec.generate_private_key(ec.SECP256R1()))
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise BadKey(place="the key file for models", problem="it is not an EC key")
        return private

    def _key(self, holder: str, kind: str, make: Callable[[], Ed25519PrivateKey | ec.EllipticCurvePrivateKey]) -> object:
        name = HOUSE if holder == HOUSE else hashlib.sha256(holder.encode()).hexdigest()[:32]
        path = self.folder / f"{name}.{kind}.pem"
        if not path.exists():
            encoding, form, plain = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            # Text before the BEGIN line is allowed (RFC 7468 section 2): it tells the operator whose key the file is.
            title = f"Lilong {kind} key of {holder!a}, made {stamp(self._clock.now())}\n"
            _create(path, title.encode() + make().private_bytes(encoding, form, plain))
        if path.stat().st_mode & 0o077:
            raise BadKey(place=f"The key file {path}", problem=f"others than its owner may read it; run `chmod 600 {path}`")
        try:
            return serialization.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as cause:
            raise BadKey(place=f"The key file {path}", problem="it is not a private key in PEM; put it back from a backup") from cause


def _create(path: Path, data: bytes) -> None:
    """Write a new private file durably. When two processes race for it, the first wins and both then read the same key."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    incoming = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(incoming, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(incoming, path)
    finally:
        incoming.unlink()
    sync_folder(path.parent)
