"""A client that keeps on writing through whatever happens to the server, and notes down each write that was acknowledged.

python writer.py ENDPOINT TOKEN_FILE REPOSITORY KIND SEED OUT      (KIND: xet | lfs | small | merge)
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import sys
import time
from pathlib import Path

ENDPOINT, TOKEN_FILE, REPOSITORY, KIND, SEED, OUT = sys.argv[1:7]
os.environ |= {
    "HF_ENDPOINT": ENDPOINT, "HF_TOKEN": Path(TOKEN_FILE).read_text().strip(), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HOME": f"{OUT}.home", "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "2", "HF_XET_CLIENT_RETRY_BASE_DELAY": "100ms",
}  # fmt: skip

from huggingface_hub import HfApi  # noqa: E402 - it reads its settings when it is imported

api = HfApi()
chance = random.Random(SEED)


def write(number: int) -> tuple[str, str, str]:
    """path, SHA-256 and commit of one acknowledged write."""
    size = chance.randrange(20_000, 1_500_000) if KIND in ("xet", "lfs") else chance.randrange(1, 3000)
    content = chance.randbytes(size)
    path = f"{KIND}/{SEED}/{number}.{'bin' if KIND in ('xet', 'lfs') else 'txt'}"
    source = io.BytesIO(content) if KIND == "lfs" else content
    made = api.upload_file(path_or_fileobj=source, path_in_repo=path, repo_id=REPOSITORY, repo_type="dataset", create_pr=KIND == "merge")
    commit = made.oid
    if KIND == "merge":
        api.merge_pull_request(REPOSITORY, made.pr_num, repo_type="dataset")
        commit = "main"
    return path, hashlib.sha256(content).hexdigest(), commit


number = 0
while True:
    number += 1
    try:
        path, digest, commit = write(number)
    except Exception as problem:
        with Path(f"{OUT}.problems").open("a") as file:
            file.write(f"{type(problem).__name__}: {problem}\n")
        time.sleep(0.05)
        continue
    with Path(OUT).open("a") as file:
        file.write(json.dumps([path, digest, commit]) + "\n")
