"""How large what people ask for may be: every job is read again and again while it waits, and is started with its words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator

from lilong.floors.compute.contract import JobAsk
from lilong.floors.compute.rules.asking import indices
from lilong.ground.errors import BadInput

MOST_SPEC = 1 << 20  # bytes of canonical JSON
MOST_WORD = (128 << 10) - 1  # bytes of one word or variable: Linux's MAX_ARG_STRLEN, without its NUL
MOST_WORDS = 1 << 20  # bytes of all of them: about half of what Linux takes, for what the sandbox adds
MOST_NUMBER = 8000  # words: bubblewrap takes 9,000 with its own
MOST_OF_ALL = 64 << 20  # bytes of what all jobs of an array are given: each keeps its own
SHOWN = 1000  # characters of a word or variable in a list of jobs
_WAY_OUT = "Bring it as a file: put it into a repository of the hub and name that as an input."


def check(ask: JobAsk) -> None:
    """Raises BadInput for a job whose words or spec are too large."""
    if len(ask.argv) > MOST_NUMBER:
        raise BadInput(field="argv", problem=f"it has {len(ask.argv):,} words, and {MOST_NUMBER:,} are the most", way_out=_WAY_OUT)
    for field, size, most in _sizes(ask):
        if size > most:
            raise BadInput(field=field, problem=f"it has {size:,} bytes, and {most:,} are the most", way_out=_WAY_OUT)


def _sizes(ask: JobAsk) -> Iterator[tuple[str, int, int]]:
    words = [(f"argv[{at}]", _bytes(word)) for at, word in enumerate(ask.argv)]
    variables = [(f"env.{name[:100]}", _bytes(name) + 1 + _bytes(value)) for name, value in ask.env.items()]
    for field, size in (*words, *variables):
        yield field, size, MOST_WORD
    both = (*words, *variables)
    given = sum(size for _, size in both) + 9 * len(both)  # each with its NUL and its address
    yield "argv and env", given, MOST_WORDS
    try:
        spec = _bytes(json.dumps(ask.spec, sort_keys=True, ensure_ascii=False, separators=(",", ":")))
    except (TypeError, ValueError, RecursionError):
        return  # no JSON at all: that is refused for what it is
    yield "spec", spec, MOST_SPEC
    if ask.array:
        yield "array", (given + spec) * len(indices(ask.array)[0]), MOST_OF_ALL


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
