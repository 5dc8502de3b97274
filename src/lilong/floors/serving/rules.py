"""Serving's decisions: what a receipt is charged, which file is served, whether a certificate covers it, how a deployment moves on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lilong.floors.serving.contract import Billable, NotServable, Receipt, Terminal, Usage
from lilong.ground.errors import BadInput

POLICY = "2026-11"
"""Under this policy a finished answer costs what the engine counted; a client that leaves pays for its prompt and what it was
sent; what the house or the engine broke off costs what was delivered, with the prompt free. An answer of which nothing came
costs nothing."""

LIVE = frozenset({"requested", "ready", "stopping"})
ENDED = frozenset({"stopped", "suspended", "failed"})
STACK = "llama.cpp"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,119}")
_MIB = 1 << 20


def billable(receipt: Receipt) -> Billable:
    """The tokens a receipt is charged for under `POLICY`."""
    if receipt.completion_tokens == 0 and receipt.state != Terminal.COMPLETED:
        return Billable(0, 0, POLICY)
    charged = receipt.state in (Terminal.COMPLETED, Terminal.CLIENT_GONE)
    return Billable(receipt.prompt_tokens if charged else 0, receipt.completion_tokens, POLICY)


def rolled_up(receipts: Iterable[Receipt]) -> list[Usage]:
    """Receipts added up by organisation, day and deployment, in that order. Adding up parts and then the sums gives the same."""
    sums: dict[tuple[str, str, str, str], list[int]] = {}
    for each in receipts:
        charged = billable(each)
        total = sums.setdefault((each.organisation, each.at[:10], each.deployment, each.model), [0] * 5)
        for place, amount in enumerate((1, each.prompt_tokens, each.completion_tokens, charged.prompt, charged.completion)):
            total[place] += amount
    return [
        Usage(organisation, day, deployment, model, POLICY, *total)
        for (organisation, day, deployment, model), total in sorted(sums.items())
    ]


def served_name(wanted: str, repository: str, organisation: str) -> str:
    """The name clients will ask for; one that reads like another organisation's model is for that model only. Raises BadInput."""
    name = wanted or repository
    if not _NAME.fullmatch(name):
        raise BadInput(
            field="name", problem=f"{name!r} is not a name a client can ask for", way_out="Use letters, digits and . _ / : - (120 at most)."
        )
    owner, slash, _ = name.partition("/")
    if slash and owner != organisation and name != repository:
        raise BadInput(field="name", problem=f"{name!r} would pass for a model of {owner}", way_out=f"Begin it with {organisation}/, or leave the / out.")
    return name


def split_model(model: str) -> tuple[str, str]:
    """('organisation/name', ref) of 'organisation/name@ref'; without a ref, 'main'. Raises BadInput."""
    repository, _, ref = model.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise BadInput(field="model", problem=f"{model!r} names no repository", way_out="Give organisation/name@revision.")
    return repository, ref or "main"


def model_file(paths: Sequence[str], stack: str, examined: str | None = None) -> str:
    """The file that a stack such as 'llama.cpp' or 'llama.cpp:model-q8.gguf' serves: the one that its certificate examined.

    Raises BadInput, NotServable.
    """
    engine, _, wanted = stack.partition(":")
    if engine != STACK:
        raise BadInput(field="stack", problem=f"{engine!r} serves no models here", way_out=f"Known: {STACK}, or {STACK}:file.gguf.")
    files = sorted(path for path in paths if path.endswith(".gguf"))
    if wanted:
        if wanted not in files:
            raise BadInput(
                field="stack", problem=f"the revision has no file {wanted!r}", way_out=f"It has: {', '.join(files) or 'no GGUF file'}."
            )
        return wanted
    if examined in files:
        return str(examined)
    if len(files) == 1:
        return files[0]
    if not files:
        raise NotServable(
            model="This revision", problem="it has no GGUF file, which llama.cpp needs.", way_out="Add one by a training or conversion job."
        )
    way_out = f"Name one, such as stack = '{STACK}:{files[0]}'. It has: {', '.join(files)}."
    raise BadInput(field="stack", problem="the revision has several GGUF files", way_out=way_out)


def memory_mib(file_bytes: int, context: int, parallel: int) -> int:
    """MiB to ask for: the weights, a cache of keys and values (50 KiB a token covers models to about a billion parameters), the program."""
    return 512 + file_bytes * 5 // (4 * _MIB) + context * parallel // 20
