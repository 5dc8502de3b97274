"""The digest of a whole folder of files, as OpenSSF model-signing defines it, and the `model.sig` that its own tools accept.

The root is SHA-256 over the raw SHA-256 digests of all files, one after another, the files being sorted by the parts of their paths.
It is worked out from digests already known: no file is read again. It names a repository's revision in every statement.

Source: OpenSSF Model Signing v1.0 (`https://model_signing/signature/v1.0`), Sigstore bundle v0.3.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import rfc8785
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lilong.ground.envelope import PAYLOAD_TYPE, STATEMENT_TYPE, pae
from lilong.ground.errors import BadInput

SIGNATURE_FILE = "model.sig"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_GIT = (".git", ".gitattributes", ".github", ".gitignore")  # what the tools leave out of every folder
_DOWNLOADED = ".cache/huggingface"  # what the Hugging Face client leaves beside the files that it downloads into a folder
IGNORED = (SIGNATURE_FILE, *_GIT, _DOWNLOADED)


def covered(path: str) -> bool:
    """Whether a file counts for the digest: the signature itself, git's own files and the client's leavings do not."""
    return not any(path == ignored or path.startswith(ignored + "/") for ignored in IGNORED)


def _sorted(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """(path, hex digest) of the covered files, sorted as the tools sort them: by the parts of the path."""
    return sorted(((path, _hex(digest)) for path, digest in files.items() if covered(path)), key=lambda file: file[0].split("/"))


def root(files: Mapping[str, str]) -> str:
    """The `sha256:…` of a folder given as path → `sha256:…` of the file's bytes. Paths are relative, with `/`."""
    whole = hashlib.sha256()
    for _, digest in _sorted(files):
        whole.update(bytes.fromhex(digest))
    return "sha256:" + whole.hexdigest()


def sign(name: str, files: Mapping[str, str], key: ec.EllipticCurvePrivateKey) -> bytes:
    """The `model.sig` of a folder: a Sigstore bundle for `model_signing verify key DIR --signature … --public_key …`.

    `name` is for people; renaming the folder does not break the signature. The key is EC P-256.
    """
    resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in _sorted(files)]
    serialization_of = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(IGNORED)}
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root(files).removeprefix("sha256:")}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {"serialization": serialization_of, "resources": resources},
    }
    payload = rfc8785.dumps(statement)
    signature = key.sign(pae(payload), ec.ECDSA(hashes.SHA256()))
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    bundle = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(pem).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle, indent=1).encode() + b"\n"


def missing(files: Mapping[str, str], present: Iterable[str]) -> list[str]:
    """The covered files of a manifest that are not among those present, in its order."""
    here = set(present)
    return [path for path, _ in _sorted(files) if path not in here]


def _hex(digest: str) -> str:
    algorithm, _, hexadecimal = digest.partition(":")
    if algorithm != "sha256" or len(hexadecimal) != 64:
        raise BadInput(field="digest", problem=f"{digest[:80]!r} is not sha256:<64 hex digits>", way_out="Give the digest of the file's bytes.")
    return hexadecimal
