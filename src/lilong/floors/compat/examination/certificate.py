"""The certificate: one JSON object that says what was run, on what, how it came out, and what was not tried."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from lilong.floors.compat import rules
from lilong.floors.compat.contract import Recipe, Row
from lilong.floors.compat.examination.suite import PROMPT_TOKENS, Suite

FORMAT = "https://lilong.dev/compat-certificate/v1"

NOT_TESTED = (
    "single operators",
    "training",
    "speed and memory",
    "several sequences in one batch",
    "sampling other than greedy",
    "the chat template",
    "other devices and other versions than those named in each row",
)


def certificate(suite: Suite, rows: Sequence[Row], files: Mapping[str, str], ask: Recipe, information: float) -> dict[str, Any]:
    """Numbers that are not finite become null. `information`: see `examination.kernels.Information`."""
    longest = max((len(text.tokens) for text in suite.texts), default=0)
    limits = sorted({rules.tolerance_of(row.probe.weights) for row in rows if row.probe}, key=lambda one: one.weights)
    tested = f"model: {suite.positions} teacher-forced positions in {len(suite.texts)} texts of at most {longest} tokens"
    if suite.prompts:
        tested += f", {len(suite.prompts)} greedy continuations of {suite.greedy_tokens} tokens"
    made: dict[str, Any] = plain(
        {
            "format": FORMAT,
            "suite": suite.digest(),
            "seed": suite.seed,
            "model": dict(files),
            "rows": [asdict(row) for row in rows],
            "tolerances": [asdict(one) for one in limits],
            "information": information,
            "limits": asdict(ask.limits),
            "tested": [tested],
            "not_tested": [*NOT_TESTED, f"contexts longer than {max(longest, PROMPT_TOKENS + suite.greedy_tokens)} tokens"],
        }
    )
    return made


def plain(value: Any) -> Any:
    """Dataclasses, tuples and numbers as JSON has them; what is not finite becomes null."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
