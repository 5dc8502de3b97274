"""Carry out an examination: the reference first, then each stack against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lilong.floors.compat import rules
from lilong.floors.compat.contract import (
    NOISE,
    REFERENCE,
    DeviceCrashed,
    DeviceHung,
    DeviceOutOfMemory,
    DeviceRefused,
    DeviceUnderTest,
    Divergence,
    Probe,
    ReferenceFailed,
    Row,
    StackName,
    Tokenization,
    Verdict,
)
from lilong.floors.compat.examination import kernels
from lilong.floors.compat.examination.suite import SPLITS, Suite

Logits = NDArray[np.float32]
Report = Callable[[int, str], None]

FAILURES: tuple[tuple[type[Exception], Verdict], ...] = (
    (DeviceRefused, Verdict.REFUSED),
    (DeviceCrashed, Verdict.CRASH),
    (DeviceHung, Verdict.HANG),
    (DeviceOutOfMemory, Verdict.OOM),
)


@dataclass(frozen=True, slots=True)
class Examined:
    """One stack's row, and its positions for the record."""

    row: Row
    positions: tuple[rules.Position, ...] = ()


@dataclass(slots=True)
class Answers:
    """What one device has said so far; filled as it goes, so that a device that dies leaves what it gave."""

    probe: Probe | None = None
    positions: list[rules.Position] = field(default_factory=list)
    diverged: list[Divergence] = field(default_factory=list)
    tokenization: Tokenization | None = None
    deterministic: bool | None = None
    malformed: str = ""
    cpu_seconds: float = 0.0
    peak_mib: int = 0


@dataclass(slots=True)
class Examiner:
    """Examines stacks on one model. `open_device` gives an unloaded device; `scratch` holds the reference's logits."""

    suite: Suite
    model: Path
    threads: int
    encode: Callable[[str], list[int]]
    open_device: Callable[[StackName], DeviceUnderTest]
    scratch: Path
    report: Report
    information: float = 0.0
    noise: float | None = None
    _continuations: list[list[int]] = field(default_factory=list)
    _done: int = 0

    def steps(self, stacks: Sequence[StackName]) -> int:
        return (len(self.suite.texts) + len(self.suite.prompts) + 1) * len(stacks)

    def run(self, stacks: Sequence[StackName]) -> list[Examined]:
        """The reference's row first, whether asked for or not; then the others in their order, the noise row before all.

        Raises ReferenceFailed when there is nothing to compare with.
        """
        others = sorted((stack for stack in dict.fromkeys(stacks) if stack != REFERENCE), key=lambda stack: stack != NOISE)
        return [self._reference(), *(self._stack(stack) for stack in others)]

    def _reference(self) -> Examined:
        answers = Answers()
        information = kernels.Information()
        try:
            with closing(self.open_device(REFERENCE)) as device:
                answers.probe = self._load(device, REFERENCE)
                for number, text in enumerate(self.suite.texts):
                    logits = self._logits(device, REFERENCE, number)
                    problem = kernels.malformed(logits, (len(text.tokens), logits.shape[-1]))
                    if problem:
                        raise ReferenceFailed(stack=REFERENCE, problem=problem)
                    np.save(self._kept(f"text-{number}"), logits)
                    information.feed(logits)
                    self._add_positions(answers, number, kernels.compare(logits, logits))
                for number in range(len(self.suite.prompts)):
                    tokens, logits = self._greedy(device, REFERENCE, number)
                    self._continuations.append(tokens)
                    np.save(self._kept(f"prompt-{number}"), logits)
                answers.deterministic = self._repeats(device, REFERENCE)
                answers.cpu_seconds, answers.peak_mib = device.spent(), device.peak_mib()
        except tuple(kind for kind, _ in FAILURES) as failure:
            raise ReferenceFailed(stack=REFERENCE, problem=str(failure)) from failure
        self.information = information.nats()
        row = self._row(REFERENCE, answers, Verdict.PASS, "the reference that the others are compared with")
        return Examined(replace(row, reference=True), tuple(answers.positions))

    def _stack(self, stack: StackName) -> Examined:
        answers = Answers()
        before = self._done
        try:
            with closing(self.open_device(stack)) as device:
                try:
                    self._question(device, stack, answers)
                finally:
                    answers.cpu_seconds, answers.peak_mib = device.spent(), device.peak_mib()
        except tuple(kind for kind, _ in FAILURES) as failure:
            verdict = next(verdict for kind, verdict in FAILURES if isinstance(failure, kind))
            row = self._row(stack, answers, verdict, str(failure))
        else:
            weights = answers.probe.weights if answers.probe else "other"
            seen = rules.Observation(
                weights=weights,
                positions=answers.positions,
                diverged=answers.diverged,
                prompts=len(self.suite.prompts),
                tokenization=answers.tokenization,
                malformed=answers.malformed,
                information=self.information,
            )
            noise = None if stack == NOISE else self.noise
            row = self._row(stack, answers, *rules.judge(seen, noise))
            if stack == NOISE and row.verdict is Verdict.PASS and row.kl:
                self.noise = row.kl.point
        self._done = before + self.steps([stack])
        self.report(self._done, f"{stack}: {row.verdict}")
        return Examined(row, tuple(answers.positions))

    def _question(self, device: DeviceUnderTest, stack: StackName, answers: Answers) -> None:
        answers.probe = self._load(device, stack)
        margin = rules.tolerance_of(answers.probe.weights).margin
        answers.tokenization = self._tokenization(device)
        for number in range(len(self.suite.texts)):
            reference = np.load(self._kept(f"text-{number}"))
            got = self._logits(device, stack, number)
            answers.malformed = answers.malformed or kernels.malformed(got, reference.shape)
            if answers.malformed:
                break
            self._add_positions(answers, number, kernels.compare(reference, got))
        else:
            for number, expected in enumerate(self._continuations):
                tokens, _ = self._greedy(device, stack, number)
                left = self._divergence(number, expected, tokens, margin)
                if left:
                    answers.diverged.append(left)
            answers.deterministic = self._repeats(device, stack)

    def _load(self, device: DeviceUnderTest, stack: StackName) -> Probe:
        self.report(self._done, f"{stack}: loading")
        probe = device.load(self.model, self.threads)
        self._done += 1
        return probe

    def _logits(self, device: DeviceUnderTest, stack: StackName, number: int) -> Logits:
        logits = device.logits(self.suite.texts[number].tokens)
        self._done += 1
        self.report(self._done, f"{stack}: text {number + 1} of {len(self.suite.texts)}")
        return logits

    def _greedy(self, device: DeviceUnderTest, stack: StackName, number: int) -> tuple[list[int], Logits]:
        answer = device.greedy(self.suite.prompts[number].tokens, self.suite.greedy_tokens)
        self._done += 1
        self.report(self._done, f"{stack}: continuation {number + 1} of {len(self.suite.prompts)}")
        return answer

    def _repeats(self, device: DeviceUnderTest, stack: StackName) -> bool:
        """Whether the shortest question asked twice gives the same bits."""
        tokens = self.suite.texts[0].tokens[:32]
        return bool(np.array_equal(device.logits(tokens), device.logits(tokens)))

    def _tokenization(self, device: DeviceUnderTest) -> Tokenization | None:
        strings = [*(text.text for text in (*self.suite.texts, *self.suite.prompts)), *SPLITS]
        equal, first = 0, ""
        for string in strings:
            got = device.tokenize(string)
            if got is None:
                return None
            expected = self.encode(string)
            equal += got == expected
            if got != expected and not first:
                at = rules.first_divergence(expected, got) or 0
                first = f"{string[:60]!r}: token {at} of {len(expected)} is {got[at : at + 3]}, the reference has {expected[at : at + 3]}"
        return Tokenization(len(strings), equal, first)

    def _divergence(self, number: int, expected: Sequence[int], got: Sequence[int], margin: float) -> Divergence | None:
        at = rules.first_divergence(expected, got)
        if at is None:
            return None
        log_p = kernels.log_softmax(np.load(self._kept(f"prompt-{number}"))[at])
        chosen = got[at] if at < len(got) and 0 <= got[at] < len(log_p) else None
        sure = float(log_p[expected[at]] - log_p[chosen]) if chosen is not None and at < len(expected) else float("inf")
        return Divergence(number, at, sure, sure > margin)

    def _add_positions(self, answers: Answers, number: int, seen: kernels.Comparison) -> None:
        columns = (seen.kl, seen.reference_top, seen.got_top, seen.margin, seen.gap)
        for position, (kl, top, got, margin, gap) in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            answers.positions.append(rules.Position(number, position, kl, top, got, margin, gap))

    def _row(self, stack: StackName, answers: Answers, verdict: Verdict, reason: str) -> Row:
        row = Row(stack, verdict, reason, probe=answers.probe, tokenization=answers.tokenization)
        row = replace(row, cpu_seconds=round(answers.cpu_seconds, 3), peak_mib=answers.peak_mib)
        if not answers.probe or not answers.positions:
            return row
        tolerance = rules.tolerance_of(answers.probe.weights)
        return replace(
            row,
            kl=rules.divergence(answers.positions),
            kl_max=max(at.kl for at in answers.positions),
            kl_limit=rules.limit(tolerance, None if stack == NOISE else self.noise),
            agreement=rules.agreement(answers.positions),
            decisive_flips=rules.decisive_flips(answers.positions, tolerance.margin),
            prompts=len(self.suite.prompts),
            diverged=tuple(answers.diverged),
            deterministic=answers.deterministic,
        )

    def _kept(self, name: str) -> Path:
        return self.scratch / f"{name}.npy"
