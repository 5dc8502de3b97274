"""The inside of a compute job: where its inputs lie, where its outputs go, how it tells of its progress.

The compute floor starts a job's program with three folders named in the environment:

    LILONG_IN      read-only; `spec.json` holds the job's parameters, each input lies in a folder under its name
    LILONG_OUT     what is left here when the program exits with 0 is collected, without following links
    LILONG_STATE   kept between the attempts of one job: checkpoints, and `progress.jsonl`

LILONG_SECRETS_FD, if set, is the number of an open descriptor from which its secrets can be read once, as a JSON object.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lilong.ground.errors import BadInput, LilongError


def kept_wheel(requirement: str) -> list[str]:
    """pip's options for a `name==version` whose wheel was fetched when the environment was made, so that no network is needed now.

    Such wheels lie in `<environment>/share/lilong/wheels`; the list is empty where this one does not.
    """
    folder = Path(sys.prefix) / "share" / "lilong" / "wheels"
    start = requirement.replace("-", "_").replace("==", "-", 1).lower() + "-"
    kept = folder.is_dir() and any(file.name.lower().startswith(start) for file in folder.iterdir())
    return ["--no-index", "--find-links", str(folder)] if kept else []


_FOLDERS = ("LILONG_IN", "LILONG_OUT", "LILONG_STATE")
_secrets: dict[str, str] = {}  # once read, they are nowhere else


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders of one job."""

    inputs: Path
    out: Path
    state: Path

    @classmethod
    def here(cls) -> Workspace:
        """The workspace that the compute floor gave to this process. From here on, what ends it unforeseen is told in a last line.

        Raises BadInput outside of a job.
        """
        for key in _FOLDERS:
            if key not in os.environ:
                raise BadInput(field=key, problem="it is not set, so this is no job", way_out="Have the compute floor run it: lilong job submit.")
        sys.excepthook = _last_words
        return cls(*(Path(os.environ[key]) for key in _FOLDERS))

    @property
    def spec(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.inputs / "spec.json").read_text())
        return value

    def input(self, name: str) -> Path:
        return self.inputs / name

    @staticmethod
    def secrets() -> dict[str, str]:
        """The job's secrets by name; {} if it was given none. They come through a descriptor that is closed once they are read."""
        number = os.environ.pop("LILONG_SECRETS_FD", None)
        if number is not None:
            with os.fdopen(int(number), "rb") as file:
                _secrets.update(json.loads(file.read()))
        return dict(_secrets)

    def progress(self, step: int, of: int, doing: str, **figures: float) -> None:
        """Say that `step` of `of` is done (unitless counts) and what is being done now; figures feed charts (e.g. loss=2.4)."""
        line = {"at": time.time(), "step": step, "of": of, "doing": doing, **figures}
        with (self.state / "progress.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")

    def finish(self, result: Mapping[str, Any]) -> None:
        """Leave the job's result, a JSON object, as `out/result.json`."""
        self.out.mkdir(parents=True, exist_ok=True)
        (self.out / "result.json").write_text(json.dumps(result, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def _last_words(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
    """The last line of a job's log is the reason that people are shown: it names what is wrong and the way out."""
    if isinstance(problem, ModuleNotFoundError):
        missing = (problem.name or str(problem)).partition(".")[0]
        said = f"missing-package: The package '{missing}' is not installed where jobs run. Run `pip install 'lilong[all]'` there and try again."
    elif isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
        said = "storage-full: The disk that holds the house's jobs is full. Free some space and try again."
    elif isinstance(problem, MemoryError):
        said = "out-of-memory: The memory was not enough. Give the job more, or less to do."
    else:
        traceback.print_exception(kind, problem, trace)
        return
    print(said, file=sys.stderr)


def carry_out(job: Callable[[Workspace], object]) -> int:
    """Do a job's work in the workspace that is here; the exit code. What is wrong with its input is the last line of its log."""
    try:
        job(Workspace.here())
    except LilongError as error:
        print(f"{error.code()}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def one_of(verbs: Mapping[str, Callable[[Workspace], object]], words: Sequence[str]) -> Callable[[Workspace], object]:
    """The job that the only one of a program's `words` names. Raises BadInput where it is carried out."""

    def job(workspace: Workspace) -> object:
        if len(words) != 1 or words[0] not in verbs:
            raise BadInput(field="verb", problem=f"{' '.join(words)!r} is none", way_out=f"Give one of: {', '.join(verbs)}.")
        return verbs[words[0]](workspace)

    return job
