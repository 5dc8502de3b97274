"""What was said of a job's end or wait and kept as text, taken apart again, so that a page can tell it in its reader's language. Pure.

Whoever sees an attempt end writes down why, once and in English. The words of programs and engines in it stay as they were: they are `Quoted`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from lilong.floors.compute.rules.telling import SENTENCES
from lilong.floors.compute.rules.wording import Quoted, Said, said

# {quoted}: somebody else's words; {kept}: words that are kept as these are; the rest: one word each.
TEMPLATES = (
    *SENTENCES.values(),
    # how attempts end
    "it was cancelled",
    "it finished",
    "it ended with status {code}",
    "it ended with status {code}: {quoted}",
    "{signal} ended it",
    "{signal} ended it: {quoted}",
    "signal {number} ended it",
    "signal {number} ended it: {quoted}",
    "the service ended by itself with status {code}",
    "the service ended by itself with status {code}: {quoted}",
    "it made room for another job",
    "the house was closed while it ran",
    "its supervisor was killed or the machine went down; nothing is known of how it ended",
    "it left no word of how it ended",
    "its node was taken away before it could start",
    "it could not be started: {quoted}",
    "its supervisor did not start: {quoted}",
    "its outputs were refused: {quoted}",
    "it ran longer than the {asked} s it had asked for",
    "it started more than {most} processes",
    "it used {used} MiB of memory and had asked for {asked} MiB",
    "it wrote {written} MiB into its folders, where {most} MiB are allowed",
    "it wrote {written} MiB into its folders, and left {free} MiB free on their disk",
    "it made {many} files in its folders, and left room for {free} on their disk",
    "the kernel ended a part of it, because it used more than the {asked} MiB of memory it had asked for",
    "the node's kernel ended it for its memory",
    "{job}, which it needed, is {state}",
    # for what they wait
    "it starts after {job}",
    "it starts after another job",
    "it starts after {job} and {n} more",
    "no decision could be made about it, and it was set aside: {quoted}",
    "it was handed to an engine, in whose own queue it waits: {kept}",
    "The site '{site}' does not answer: {quoted}",
    "it was declared otherwise a moment ago and is looked at anew",
    # what the drivers say for their engines
    "it is being handed to Slurm",
    "Slurm did not answer when it was handed over; in half a minute it is certain",
    "Slurm could not start it ({state}, {reason}): {kept}",
    "it said nothing",
    "it left no log; see slurmd's log on the node",
    "it was requeued inside Slurm",
    "it was cancelled inside Slurm",
    "Slurm took its place back for others",
    "a node that it ran on failed",
    "a node that it was to run on did not come up",
    "another cluster of the federation took it",
    "Slurm ended it at its time limit",
    "Slurm ended it at its deadline",
    "it used more memory than it had asked for",
    "Slurm: {reason} ({kept})",
    "not looked at yet",
    "what it needs is in use",
    "another job of its name has not ended",
    "the partition is down",
    "the partition is closed",
    "it asks for more nodes than the partition allows: it will never start",
    "it asks for more time than the partition allows: it will never start",
    "a node that it needs is down, drained or reserved",
    "an administrator of the cluster holds it",
    "it is held inside Slurm",
    "a licence is in use",
    "a node that it needs is down",
    "its time to begin has not come",
    "its reservation has not begun",
    "its nodes are being made ready",
    "a limit of the account in Slurm",
    "its placement group waits for room",
    "it is suspended: Kueue has not admitted it yet",
    "its pod is not scheduled yet",
    "its pods are being made",
    "it has no pods yet",
)
_HOLE = re.compile(r"\{(\w+)\}")
_STATES = ("succeeded", "failed", "cancelled", "lost")


def recalled(text: str) -> Said | Quoted:
    """The template and values that a kept text was made of; all of it is a quotation where the house never said so."""
    if isinstance(text, Said | Quoted):
        return text
    for template, pattern in _patterns():
        if (found := pattern.fullmatch(text)) is not None:
            return said(template, **{name: _value(name, value) for name, value in found.groupdict().items()})
    return Quoted(text)


def _value(name: str, value: str) -> str:
    if name == "quoted":
        return Quoted(value)
    return recalled(value) if name == "kept" else said(value) if value in _STATES else value


@lru_cache(maxsize=1)
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((template, re.compile("".join(_regex(template)), re.DOTALL)) for template in TEMPLATES)


def _regex(template: str) -> Iterator[str]:
    """Text and holes in turn."""
    for at, part in enumerate(_HOLE.split(template)):
        yield (f"(?P<{part}>.*)" if part in ("quoted", "kept") else rf"(?P<{part}>\S+)") if at % 2 else re.escape(part)
