"""Verdicts: pure functions from what was observed to pass, inaccurate or wrong, with the reason in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lilong.floors.compat.contract import Certificate, Certified, Divergence, Interval, MatrixRow, NothingToExamine, Tokenization, Verdict
from lilong.ground.errors import BadInput

Z95 = 1.959963984540054

# Student's t, 97.5 % quantile, by degrees of freedom (standard table; between entries the next smaller one is taken, which is wider).
_T975 = {
    1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262, 10: 2.228, 11: 2.201, 12: 2.179,
    13: 2.160, 14: 2.145, 15: 2.131, 16: 2.120, 17: 2.110, 18: 2.101, 19: 2.093, 20: 2.086, 25: 2.060, 30: 2.042, 40: 2.021,
    60: 2.000, 120: 1.980,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a number format may cost against the f32 reference, and why. All in nats."""

    weights: str
    kl_mean: float
    kl_max: float
    margin: float  # the reference preferring its token by more than this is a decision that the format's noise cannot turn
    reason: str


# Set at 5 to 500 times what SmolLM2-135M measured on correct stacks (1,024 positions; docs/measured.md), so that a larger model
# passes, and at a tenth or less of what the mildest planted fault costs in the finer formats.
TOLERANCES: dict[str, Tolerance] = {
    tolerance.weights: tolerance
    for tolerance in (
        Tolerance("f32", 1e-8, 1e-6, 1e-3, "f32 differs by the order of summation only; 2e-11 measured"),
        Tolerance("f16", 2e-4, 1e-2, 0.15, "11 significant bits; 8e-6 measured"),
        Tolerance("bf16", 1e-2, 0.5, 0.6, "8 significant bits; 1.8e-3 measured"),
        Tolerance("q8_0", 1e-2, 0.5, 0.6, "8 bits in blocks of 32"),
        Tolerance("q6_k", 3e-2, 1.0, 1.0, "6 bits in blocks"),
        Tolerance("q5_k", 0.1, 3.0, 2.0, "5 bits in blocks"),
        Tolerance("q5_1", 0.1, 3.0, 2.0, "5 bits in blocks"),
        Tolerance("q5_0", 0.1, 3.0, 2.0, "5 bits in blocks"),
        Tolerance("q4_k", 0.25, 8.0, 3.0, "4 bits in blocks"),
        Tolerance("q4_1", 0.25, 8.0, 3.0, "4 bits in blocks"),
        Tolerance("q4_0", 0.25, 8.0, 3.0, "4 bits in blocks"),
    )
}
LOSSY = Tolerance("other", 0.25, 8.0, 3.0, "an unlisted format, held to what 4 bits cost")

NOISE_SHARE = {"bf16": 1.0, "f16": 1 / 64}
"""What a format's rounding costs beside bfloat16's: f16 keeps 3 bits more, and KL goes with the square of the error."""
NOISE_FACTOR = 4.0


@dataclass(frozen=True, slots=True)
class Position:
    """One teacher-forced position. `kl`, `margin` and `gap` in nats."""

    text: int
    position: int
    kl: float  # KL(reference || stack)
    reference_top: int
    got_top: int
    margin: float  # reference: log p(its first choice) - log p(its second)
    gap: float  # reference: log p(its first choice) - log p(the stack's first choice); 0 where they agree


@dataclass(frozen=True, slots=True)
class Observation:
    """All that was seen of one stack that ran to the end."""

    weights: str
    positions: Sequence[Position]
    diverged: Sequence[Divergence]
    prompts: int
    tokenization: Tokenization | None
    malformed: str = ""  # non-finite numbers or a wrong shape, in words
    information: float = math.inf  # nats: mean KL of the reference's predictions from their own average


def wilson(hits: int, n: int, z: float = Z95) -> Interval:
    """Wilson's score interval for a proportion (Wilson 1927). n = 0 knows nothing: [0, 1]."""
    if n == 0:
        return Interval(0.0, math.nan, 1.0, 0)
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(max(0.0, min(share, centre - half)), share, min(1.0, max(share, centre + half)), n)


def clustered_mean(groups: Sequence[Sequence[float]]) -> Interval:
    """Mean over all values with a t interval over the groups' means: neighbouring tokens of a text are not independent.

    Groups weigh by their size (ratio estimator, Cochran 1977 §2.11). With one group the interval is unbounded above.
    """
    groups = [group for group in groups if group]
    n = sum(map(len, groups))
    if n == 0:
        return Interval(0.0, math.nan, math.inf, 0)
    mean = math.fsum(value for group in groups for value in group) / n
    if len(groups) == 1:
        return Interval(0.0, mean, math.inf, n)
    size = n / len(groups)
    residuals = math.fsum((math.fsum(group) - mean * len(group)) ** 2 for group in groups)
    error = math.sqrt(residuals / (len(groups) - 1) / len(groups)) / size
    half = t975(len(groups) - 1) * error
    return Interval(mean - half, mean, mean + half, n)


def t975(freedom: int) -> float:
    """Student's t at 97.5 % for `freedom` ≥ 1 degrees of freedom, rounded to the wider side."""
    return _T975[max(known for known in _T975 if known <= freedom)]


def first_divergence(reference: Sequence[int], got: Sequence[int]) -> int | None:
    """The first position at which two continuations differ; a shorter one differs where it ends; None if they are equal."""
    for position, (left, right) in enumerate(zip(reference, got, strict=False)):
        if left != right:
            return position
    return None if len(reference) == len(got) else min(len(reference), len(got))


def tolerance_of(weights: str) -> Tolerance:
    return TOLERANCES.get(weights, LOSSY)


def limit(tolerance: Tolerance, noise: float | None) -> float:
    """The mean KL that is allowed: the format's own, or four times what its rounding costs in the reference's own software on this model.

    `noise` is the mean KL of the bfloat16 row, given only when that row passed by its own tolerance, so that a broken stack never
    excuses another.
    """
    return max(tolerance.kl_mean, NOISE_FACTOR * NOISE_SHARE.get(tolerance.weights, 0.0) * (noise or 0.0))


def agreement(positions: Sequence[Position]) -> Interval:
    return wilson(sum(at.reference_top == at.got_top for at in positions), len(positions))


def divergence(positions: Sequence[Position]) -> Interval:
    """Mean KL per token, its interval over the texts."""
    texts: dict[int, list[float]] = {}
    for at in positions:
        texts.setdefault(at.text, []).append(at.kl)
    mean = clustered_mean(list(texts.values()))
    return replace(mean, low=max(0.0, mean.low))


def decisive_flips(positions: Sequence[Position], margin: float) -> int:
    """Positions where the stack chose another token although the reference was sure of its own."""
    return sum(at.gap > margin for at in positions)


def judge(seen: Observation, noise: float | None = None) -> tuple[Verdict, str]:
    """Pass, inaccurate or wrong, and why. The first reason that holds is named.

    *Wrong* is another function than the reference; *inaccurate* the same function with more error than its number format explains.
    """
    tolerance = tolerance_of(seen.weights)
    if seen.malformed:
        return Verdict.WRONG, seen.malformed
    if not seen.positions:
        return Verdict.WRONG, "it answered no position"
    mean, agreed = divergence(seen.positions), agreement(seen.positions)
    allowed = limit(tolerance, noise)
    if mean.point > min(_beyond(tolerance), WRONG_SHARE * seen.information) or (mean.point > allowed and agreed.high < 0.5):
        return Verdict.WRONG, (
            f"mean KL {mean.point:.3g} nats per token where context tells the reference {seen.information:.3g}; "
            f"top-1 agreement {agreed.point:.1%}: this is not the same function"
        )
    tokens = seen.tokenization
    if tokens and tokens.texts and 2 * tokens.equal < tokens.texts:
        return Verdict.WRONG, f"its tokenizer splits {tokens.texts - tokens.equal} of {tokens.texts} texts otherwise"
    fault = _fault(seen, tolerance, allowed, mean)
    if fault:
        return Verdict.INACCURATE, fault
    words = f"mean KL {mean.point:.2g} ≤ {allowed:.2g} nats per token ({tolerance.reason}); top-1 agreement {agreed.point:.1%} of {agreed.n}"
    if seen.diverged:
        words += f"; {len(seen.diverged)} of {seen.prompts} continuations left the reference, each where its choice was within noise"
    return Verdict.PASS, words


WRONG_SHARE = 0.2
"""Above this share of what context tells the reference, an answer is another function's."""


def _beyond(tolerance: Tolerance) -> float:
    """A mean KL that no rounding to 8 or more bits gives: a stack that loses more than 4-bit weights do has left something out."""
    return LOSSY.kl_mean if tolerance.kl_mean <= TOLERANCES["q8_0"].kl_mean else math.inf


def _fault(seen: Observation, tolerance: Tolerance, allowed: float, mean: Interval) -> str:
    """The first thing that the number format does not explain, or nothing."""
    if mean.high > allowed:
        held = "is above" if mean.point > allowed else "cannot be shown to be below"
        return f"mean KL {mean.point:.3g} [{mean.low:.3g}, {mean.high:.3g}] nats {held} {allowed:.3g} ({tolerance.reason})"
    worst = max(seen.positions, key=lambda at: at.kl)
    if worst.kl > tolerance.kl_max:
        return f"KL {worst.kl:.3g} nats at token {worst.position} of text {worst.text} is above {tolerance.kl_max:g} ({tolerance.reason})"
    flips = decisive_flips(seen.positions, tolerance.margin)
    if flips:
        return f"{flips} of {len(seen.positions)} first choices turned where the reference was sure by more than {tolerance.margin:g} nats"
    decisive = [at for at in seen.diverged if at.decisive]
    if decisive:
        at = decisive[0]
        return f"greedy continuation {at.prompt} left the reference at token {at.position}, where it was sure by {at.margin:.2f} nats"
    tokens = seen.tokenization
    if tokens and tokens.equal < tokens.texts:
        return f"its tokenizer splits {tokens.texts - tokens.equal} of {tokens.texts} texts otherwise: {tokens.first_difference}"
    return ""


# --- certificates ------------------------------------------------------------------------------------------------------------


def split_reference(reference: str) -> tuple[str, str]:
    """`organisation/name@ref` → (organisation/name, ref); without a ref it is `main`. Raises BadInput."""
    name, _, ref = reference.partition("@")
    if name.count("/") != 1 or not all(name.split("/")):
        raise BadInput(field="model", problem=f"{reference!r} is not a revision", way_out="Write organisation/name@commit.")
    return name, ref or "main"


MODEL_FILES = (".safetensors", ".gguf", ".json", ".jinja", ".model", ".txt")


def model_files(reference: str, files: Mapping[str, str]) -> dict[str, str]:
    """Of a model's files (path → digest) those that stacks read. Raises NothingToExamine when one that all need is missing."""
    kept = {path: digest for path, digest in files.items() if "/" not in path and path.endswith(MODEL_FILES)}
    for needed in ("config.json", "tokenizer.json", ".safetensors"):
        if not any(path.endswith(needed) for path in kept):
            what = "no safetensors file" if needed == ".safetensors" else f"no {needed}"
            raise NothingToExamine(
                field="model", reference=reference, problem=f"it has {what}", way_out="Publish a revision with config.json, tokenizer.json and safetensors."
            )
    return kept


def memory_mib(files: Mapping[str, int]) -> int:
    """Memory for a job over model files (path → bytes): float32 weights twice over beside what the libraries take.

    Stored weights may be 16 bits wide, so float32 is up to twice the file.
    """
    stored = sum(size for path, size in files.items() if path.endswith(".safetensors"))
    return 1024 + 4 * math.ceil(stored / (1 << 20))


def unlike(content: Mapping[str, Any], files: Mapping[str, str]) -> str:
    """Why a certificate does not speak of the files that were given to the job, or nothing."""
    if content.get("model") != dict(files):
        return "the certificate names other model files than the job was given"
    if not isinstance(content.get("rows"), list) or not content["rows"]:
        return "the certificate has no rows"
    return ""


def work_done(content: Mapping[str, Any], weights: int) -> float:
    """Bytes of weights times positions, over all stacks: the work of an examination, to be set beside the time that it took."""
    return float(weights * sum((row.get("kl") or {}).get("n", 0) for row in content["rows"]))


def flat(row: Mapping[str, Any]) -> MatrixRow:
    """A row of certificate.json as one flat line."""
    probe = row.get("probe") or {}
    kl, agreed, tokens = row.get("kl") or {}, row.get("agreement") or {}, row.get("tokenization") or {}
    diverged = row.get("diverged") or []
    return MatrixRow(
        stack=row["stack"],
        verdict=row["verdict"],
        reason=row["reason"],
        reference=bool(row.get("reference")),
        software=probe.get("name"),
        version=probe.get("version"),
        weights=probe.get("weights"),
        compute=probe.get("compute"),
        file=probe.get("file"),
        device=probe.get("device"),
        threads=probe.get("threads"),
        positions=kl.get("n", 0),
        kl=kl.get("point"),
        kl_low=kl.get("low"),
        kl_high=kl.get("high"),
        kl_max=row.get("kl_max"),
        kl_limit=row.get("kl_limit"),
        agreement=agreed.get("point"),
        agreement_low=agreed.get("low"),
        agreement_high=agreed.get("high"),
        decisive_flips=row.get("decisive_flips"),
        prompts=row.get("prompts", 0),
        diverged=len(diverged),
        first_divergence=min((at["position"] for at in diverged), default=None),
        tokenized=tokens.get("texts"),
        tokenized_equal=tokens.get("equal"),
        deterministic=row.get("deterministic"),
        cpu_seconds=row.get("cpu_seconds", 0.0),
        peak_mib=row.get("peak_mib", 0),
    )


def decide(certificates: Sequence[Certificate], stack: str) -> Certified:
    """Does a revision run correctly on a stack? `certificates` are all of that revision, newest first."""
    revoked = False
    for certificate in certificates:
        for row in certificate.rows:
            if row.stack != stack:
                continue
            if certificate.revoked_by is not None:
                revoked = True
                continue
            holds = row.verdict == Verdict.PASS
            return Certified(
                holds=holds,
                reason=row.reason if holds else f"{row.verdict}: {row.reason}",
                certificate=certificate.digest,
                statement=certificate.statement,
                at=certificate.at,
                version=row.version,
                file=row.file,
            )
    if revoked:
        return Certified(False, f"the certificate for {stack} was revoked and no other covers it")
    if certificates:
        return Certified(False, f"no certificate of this revision covers {stack}; covered: {', '.join(_covered(certificates)) or 'none'}")
    return Certified(False, "this revision has no compatibility certificate")


def _covered(certificates: Sequence[Certificate]) -> list[str]:
    return sorted({row.stack for one in certificates if one.revoked_by is None for row in one.rows})
