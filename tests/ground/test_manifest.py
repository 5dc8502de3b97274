"""The digest of a folder against OpenSSF's own tools."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from lilong.ground import manifest
from lilong.ground.seams import SystemClock
from lilong.ground.signing import Keyring

FILES = {
    "README.md": b"# A card\n",
    "config.json": b"{}",
    "model.safetensors": bytes(range(256)) * 40,
    "onnx/model.onnx": b"onnx",
    "onnx-small/model.onnx": b"small",  # sorts before onnx/ as text, after it by parts
    "a/b/c.txt": b"",
    "a.txt": b"a",
    "\u8bcd\u8868.txt": "\u5b57".encode(),
    ".gitattributes": b"*.safetensors filter=lfs\n",
}


def laid_down(folder: Path) -> dict[str, str]:
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return {name: "sha256:" + hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


def model_signing(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "model_signing", *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_root_is_the_one_that_model_signing_works_out_from_the_files(tmp_path: Path) -> None:
    import model_signing.hashing
    from model_signing._signing.signing import Payload

    digests = laid_down(tmp_path)
    theirs = Payload(model_signing.hashing.hash(tmp_path)).statement.pb.subject[0].digest["sha256"]
    assert manifest.root(digests) == f"sha256:{theirs}"


@pytest.mark.slow
def test_the_tool_itself_verifies_a_download_and_refuses_a_changed_an_added_and_a_missing_file(tmp_path: Path) -> None:
    folder = tmp_path / "download"
    key = Keyring(tmp_path / "keys", SystemClock()).models()
    public = tmp_path / "model-key.pem"
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    signature = folder / manifest.SIGNATURE_FILE
    digests = laid_down(folder)
    signature.write_bytes(manifest.sign("northwind/teahouse", digests, key))
    leavings = folder / ".cache" / "huggingface" / "download"
    leavings.mkdir(parents=True)
    (leavings / "config.json.metadata").write_text("etag")
    check = ("verify", "key", folder, "--signature", signature, "--public_key", public)

    accepted = model_signing(*check)
    assert accepted.returncode == 0, accepted.stderr

    (folder / "config.json").write_bytes(b"{ }")
    assert model_signing(*check).returncode != 0
    (folder / "config.json").write_bytes(FILES["config.json"])
    (folder / "added.txt").write_bytes(b"more")
    assert model_signing(*check).returncode != 0
    (folder / "added.txt").unlink()
    (folder / "a.txt").unlink()
    assert model_signing(*check).returncode != 0


names = st.lists(st.text("ab.-", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1, max_size=3).map("/".join)


@given(st.dictionaries(names, st.binary(min_size=32, max_size=32).map(lambda raw: "sha256:" + raw.hex())))
def test_the_root_does_not_hang_on_the_order_in_which_files_are_named(files: dict[str, str]) -> None:
    assert manifest.root(files) == manifest.root(dict(reversed(files.items())))


def test_the_signature_file_does_not_change_the_root(tmp_path: Path) -> None:
    digests = laid_down(tmp_path)
    assert manifest.root({**digests, "model.sig": "sha256:" + "0" * 64}) == manifest.root(digests)
    assert manifest.root({**digests, "sub/model.sig": "sha256:" + "0" * 64}) != manifest.root(digests)
