"""The peers of the corpus benches, each in an environment of its own, so that none has to agree with another or with this project.

    python bench/corpus_peers.py FOLDER [NAME…]

peers/NAME.txt lists exactly what is installed, as `pip freeze` tells it, so that pip has nothing to search for. Answers, as JSON, the
interpreter of each, or why it cannot be installed here.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

PINS = Path(__file__).parent / "peers"
PEERS = {  # what the benches import of each
    "datatrove": "datatrove.pipeline.dedup.minhash, datatrove.pipeline.filters, spacy, tokenizers",
    "daft": "daft, numpy",
    "rensa": "rensa",
    "datasketch": "datasketch",
    "patterns": "hyperscan, re2, fasttext",
    "text-dedup": "text_dedup.minhash",
    "dolma": "dolma.cli.__main__",
    "data-juicer": "data_juicer.ops",
}
PATIENCE_S = 600


def installed(folder: Path, name: str) -> dict[str, str]:
    """{"python": …} or {"problem": …}. What is known of the same list is not tried again, unless the peer's folder is removed."""
    home, pins = folder.absolute() / name, PINS / f"{name}.txt"
    python, told = home / "bin" / "python", home / "told.json"
    if told.exists():
        found: dict[str, str] = json.loads(told.read_text())
        if found["pins"] == pins.read_text():
            return found
    print(f"installing {name}", file=sys.stderr, flush=True)
    problem = (
        failure([sys.executable, "-m", "venv", "--clear", str(home)])
        or failure([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r", str(pins)])
        or failure([str(python), "-c", f"import {PEERS[name]}"])
    )
    found = {"pins": pins.read_text()} | ({"problem": problem} if problem else {"python": str(python)})
    home.mkdir(parents=True, exist_ok=True)
    told.write_text(json.dumps(found))
    return found


def failure(step: list[str]) -> str:
    """The line that says why a step failed; empty if it did not."""
    try:
        done = subprocess.run(step, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"`{' '.join(step[1:4])}` had not ended after {PATIENCE_S // 60} minutes"
    if not done.returncode:
        return ""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if "rror" in line and not line.startswith("WARNING")]
    return (errors or lines or [f"`{' '.join(step[1:4])}` ended with {done.returncode}"])[-1][:200]


def version(name: str) -> str:
    """What the list calls the peer, as `datatrove 0.10.1`; all of it for the patterns."""
    pins = [line.replace("==", " ") for line in (PINS / f"{name}.txt").read_text().splitlines() if "==" in line]
    return next((pin for pin in pins if pin.rpartition(" ")[0].removeprefix("py-") == name), ", ".join(pins))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=list(PEERS), metavar="NAME")
    asked = parser.parse_args()
    print(json.dumps({name: installed(asked.folder, name) for name in asked.names}, indent=1))
