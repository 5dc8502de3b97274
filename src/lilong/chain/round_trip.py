"""The trained model fetched, sent to a namespace of one's own and fetched from there by the unmodified Hugging Face client.

What a job has made lies whole in the house and is fetched by plain HTTP; the copy goes through Xet both ways.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from lilong.client import Client
from lilong.client import hub as hub_client
from lilong.ground.errors import LilongError
from lilong.ground.seams import run

_SCRIPT = """
import filecmp, json, os, sys
from huggingface_hub import HfApi, snapshot_download
source, commit, target, folder, back, token_file = sys.argv[1:]
os.environ["HF_TOKEN"] = open(token_file).read().strip()
api = HfApi(token=os.environ["HF_TOKEN"])
snapshot_download(source, revision=commit, local_dir=folder, token=api.token)
api.create_repo(target, private=True, exist_ok=True)
made = api.upload_folder(repo_id=target, folder_path=folder, commit_message="The same model, sent by its client")
files = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names if ".cache" not in place]
xet = [entry for entry in api.list_repo_tree(target, recursive=True) if getattr(entry, "xet_hash", None)]
snapshot_download(target, revision=made.oid, local_dir=back, token=api.token)
same = all(filecmp.cmp(file, os.path.join(back, os.path.relpath(file, folder)), shallow=False) for file in files)
print(json.dumps({"commit": made.oid, "files": len(files), "bytes": sum(map(os.path.getsize, files)), "xet": len(xet), "same": same}))
"""


@dataclass(frozen=True, slots=True)
class RoundTrip:
    files: int
    bytes: int
    through_xet: int  # files that were sent and fetched back as chunks
    same: bool  # whether all came back as they went, and the digest over them is the one that was signed


class RoundTripFailed(LilongError):
    """The Hugging Face client could not fetch the model and send it back: {problem}"""


def round_trip(client: Client, url: str, token_file: Path, house: Path, model: str) -> RoundTrip | None:
    """Fetch `org/name@commit` and commit it to the caller's own namespace. None where the Hugging Face client is not installed."""
    if find_spec("huggingface_hub") is None:
        return None
    name, _, commit = model.partition("@")
    user = client.get("/api/whoami-v2")["name"]
    target = f"{user}/{name.partition('/')[2]}"
    with tempfile.TemporaryDirectory(dir=house / "run", prefix="round-trip-") as folder:
        environment = {
            "PATH": os.environ.get("PATH", ""), "HOME": folder, "HF_HOME": f"{folder}/hf", "HF_ENDPOINT": url, "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }  # fmt: skip
        argv = [sys.executable, "-c", _SCRIPT, name, commit, target, f"{folder}/files", f"{folder}/back", str(token_file.resolve())]
        done = run(argv, env=environment, timeout=1800)
        if done.returncode:
            raise RoundTripFailed(problem=done.stderr.decode(errors="replace").strip()[-2000:])
        said = json.loads(done.stdout.splitlines()[-1])
    copy = hub_client.shown(client, f"{target}@{said['commit']}").revision
    same = said["same"] and copy.manifest == hub_client.shown(client, model).revision.manifest
    return RoundTrip(said["files"], said["bytes"], said["xet"], same)
