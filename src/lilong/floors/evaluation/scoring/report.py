"""The test report: canonical JSON for machines and signatures, the same as Markdown for people, every scored item as Parquet."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lilong.floors.evaluation.contract import ENGINE, REPORT_SCHEMA, EvaluationProtocol
from lilong.floors.evaluation.rules import overall, protocol_digest
from lilong.floors.evaluation.scoring.bits_per_byte import TextScore
from lilong.floors.evaluation.scoring.compare import compare_choices, compare_texts, overlap_summary
from lilong.floors.evaluation.scoring.multiple_choice import ChoiceScore
from lilong.floors.evaluation.scoring.overlap import Finding
from lilong.floors.evaluation.scoring.run import MODELS, Material, Scores
from lilong.ground.blobs import digest_of

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy", "scipy", "pyarrow")


def make_report(
    protocol: EvaluationProtocol,
    materials: Sequence[Material],
    scores: Scores,
    findings: Mapping[str, Sequence[Finding]],
    searched: int,
    files: Mapping[str, Mapping[str, str]],
) -> dict[str, Any]:
    """The report as JSON values. It holds no time and no path, so that the same scores give the same report."""
    tasks = []
    for material in materials:
        name = material.task.name
        found = findings[name]
        if material.texts:
            texts = [[TextScore(**row) for row in scores[name, model]] for model in MODELS]
            tasks.append(compare_texts(protocol, material.task, texts[0], texts[1], material.languages, found))
        else:
            choices = [[_choice_score(row) for row in scores[name, model]] for model in MODELS]
            tasks.append(compare_choices(protocol, material.task, choices[0], choices[1], material.questions, found))
    answers = {task["task"]: task["verdict"]["answer"] for task in tasks}
    return {
        "schema": REPORT_SCHEMA,
        "title": protocol.title,
        "protocol": protocol_digest(protocol),
        "answer": overall(answers),
        "models": {name: {"named": protocol.models.get(name, ""), "files": dict(files[name])} for name in MODELS},
        "corpus": dict(protocol.corpus),
        "tasks": tasks,
        "overlap": {
            "documents_searched": searched,
            "words": protocol.overlap.words,
            "characters": protocol.overlap.characters,
            "tasks": [overlap_summary(material.task, findings[material.task.name]) for material in materials],
        },
        "alpha": protocol.alpha,
        "engine": ENGINE,
        "dtype": protocol.dtype,
        "environment": environment(),
    }


def environment() -> dict[str, Any]:
    import torch

    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), "machine": platform.machine(), "threads": torch.get_num_threads(), **versions}


def _choice_score(row: Mapping[str, Any]) -> ChoiceScore:
    return ChoiceScore(tuple(row["log_likelihoods"]), tuple(row["bytes"]))


def write_items(path: Path, materials: Sequence[Material], scores: Scores, findings: Mapping[str, Sequence[Finding]]) -> int:
    """One row per task, item and model. Returns the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    for material in materials:
        task = material.task
        for model in MODELS:
            for index, (item, result, finding) in enumerate(zip(task.items, scores[task.name, model], findings[task.name], strict=True)):
                row: dict[str, Any] = {"task": task.name, "model": model, "item": item.id, "digest": item.digest, "cluster": item.cluster}
                row |= {"share_in_training": finding.share}
                if material.texts:
                    row |= {"language": material.languages[index], "bits_per_byte": TextScore(**result).bits_per_byte, **result}
                else:
                    answer, score = material.questions[index].answer, _choice_score(result)
                    row |= {"acc": score.acc_choice == answer, "acc_norm": score.acc_norm_choice == answer, "answer": answer}
                    row |= {"log_likelihoods": result["log_likelihoods"], "choice_bytes": result["bytes"]}
                rows.append(row)
    kinds = {
        **dict.fromkeys(("task", "model", "item", "digest", "cluster", "language"), pa.string()),
        **dict.fromkeys(("share_in_training", "bits_per_byte", "nats"), pa.float64()),
        **dict.fromkeys(("tokens", "bytes", "answer"), pa.int32()),
        **dict.fromkeys(("acc", "acc_norm"), pa.bool_()),
        "log_likelihoods": pa.list_(pa.float64()),
        "choice_bytes": pa.list_(pa.int32()),
    }
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items()))), path)
    return len(rows)


def markdown(report: Mapping[str, Any], content: bytes) -> str:
    """The report to read. `content` is its canonical JSON, whose digest is shown."""
    level = f"{100 * (1 - report['alpha']):g} %"
    lines = [f"# {report['title']}", "", f"Report `{digest_of(content)}` on protocol `{report['protocol']}`, fixed before the run.", ""]
    lines += ["| | base | new |", "|---|---|---|"]
    lines += ["| model | " + " | ".join(f"`{report['models'][name]['named']}`" for name in MODELS) + " |"]
    for task in report["tasks"]:
        levels = " | ".join(_interval(task["models"][name], task) for name in MODELS)
        lines.append(f"| {task['task']}, {task['rule']['metric']} (n = {task['n']}) | {levels} |")
    lines.append("")
    for task in report["tasks"]:
        lines += _task_lines(task, level)
    lines += ["## Test items in the training text", ""]
    overlap = report["overlap"]
    windows = f"{overlap['words']} words or {overlap['characters']} letters in a row"
    lines += [f"{overlap['documents_searched']} training documents were searched for {windows}, exactly, whatever case and layout.", ""]
    lines += ["| task | items | long enough to search | found | more than half of it |", "|---|---|---|---|---|"]
    lines += [
        f"| {each['task']} | {each['items']} | {each['searched']} | {each['found']} | {each['more_than_half']} |"
        for each in overlap["tasks"]
    ]
    lines += ["", "## How it was measured", ""]
    lines += [
        f"Engine {report['engine']}, {report['dtype']}; "
        + ", ".join(f"{name} {value}" for name, value in report["environment"].items())
        + "."
    ]
    lines += [f"All intervals are {level} intervals. Differences are new - base on the same items.", ""]
    return "\n".join(lines)


def _task_lines(task: Mapping[str, Any], level: str) -> list[str]:
    verdict, planned, seen = task["verdict"], task["planned"], task["seen"]
    lines = [f"## {task['task']} ({task['role']})", "", f"Data: {task['data']}.", ""]
    lines += [f"**{verdict['question']} {verdict['answer'].capitalize()}.** {verdict['reason']}", ""]
    lines += ["| difference | n | " + f"estimate and {level} interval | method |", "|---|---|---|---|"]
    lines.append(
        f"| decisive | {task['n']} in {task['clusters']} clusters | {_interval(task['difference'], task)} | {task['difference']['method']} |"
    )
    for other in task.get("other_intervals", ()):
        lines.append(f"| {other['of']} | {task['n']} | {_interval(other, task)} | {other['method']} |")
    for name, metric in task.get("metrics", {}).items():
        rates = " → ".join(_interval(metric["models"][model], task) for model in MODELS)
        changed = f"{metric['gained']} gained, {metric['lost']} lost, exact McNemar p = {metric['mcnemar_p']:.3g}"
        lines.append(f"| {name}: {rates} | {metric['n']} | {_interval(metric['difference'], task)} | {changed} |")
    for name, group in task.get("groups", {}).items():
        lines.append(f"| language {name} | {group['n']} | {_interval(group['difference'], task)} | {group['difference']['method']} |")
    if task["clean"]["n"]:
        clean = task["clean"]
        lines.append(
            f"| items (nearly) not in the training text | {clean['n']} | {_interval(clean['difference'], task)} | {clean['difference']['method']} |"
        )
    open_still = task["verdict"]["answer"] == "cannot tell"
    required = f"; {seen['required']} items would settle the margin" if open_still and seen.get("required") else ""
    lines += [
        "",
        f"Planned to show a difference of {planned['detectable']:.3g} with a power of 80 %; with the spread seen, {seen['detectable']:.3g}{required}.",
        "",
    ]
    return lines


def _interval(interval: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    scale, digits = (100, 1) if task["kind"] == "multiple-choice" else (1, 4)
    values = ["unknown" if interval[name] is None else f"{interval[name] * scale:.{digits}f}" for name in ("estimate", "low", "high")]
    return f"{values[0]} ({values[1]} to {values[2]})"
