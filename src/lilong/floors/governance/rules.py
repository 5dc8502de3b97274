"""Decisions of governance: how the requirements of a profile stand, who may review, which number comes next."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from lilong.floors.governance.contract import Decision, Profile, Requirement, Result, Standing
from lilong.ground.envelope import Artifact
from lilong.ground.seams import stamp


@dataclass(frozen=True, slots=True)
class Claimed:
    """A statement as decisions see it. `subjects`: what it made; `judged`: those of its materials that it is a judgement of.

    `broken`: why it no longer holds ('' if it does): it was revoked, or rests on what was.
    """

    id: str
    predicate_type: str
    at: datetime
    subjects: tuple[Artifact, ...]
    materials: tuple[Artifact, ...]
    predicate: Mapping[str, Any]
    judged: tuple[Artifact, ...] = ()
    broken: str = ""

    def names(self, digest: str, role: str) -> bool:
        return any(artifact.digest == digest for artifact in (self.subjects if role == "subject" else self.judged))


@dataclass(frozen=True, slots=True)
class Case:
    """All that a decision about one revision looks at."""

    model: str  # manifest digest
    stack: str
    files: frozenset[str]
    made_at: datetime | None  # of the first statement that has the revision as its subject
    corpora: tuple[Artifact, ...]  # those that the model was made from, near and far
    earlier: frozenset[str]  # manifest digests of other revisions of its repository
    claims: tuple[Claimed, ...]


def decide(profile: Profile, case: Case, now: datetime) -> Decision:
    """How every requirement of the profile stands for this case at this moment."""
    results = tuple(_result(requirement, case, now) for requirement in profile.requirements)
    return Decision(profile.name, profile.version, stamp(now), results)


def unmet(decision: Decision) -> str:
    """The requirements that stand in the way, in words."""
    return "; ".join(f"{result.id} is {result.standing}, {result.why}" for result in decision.requirements if result.standing is not Standing.MET)


_WORST_FIRST = (Standing.REVOKED, Standing.STALE, Standing.MISSING, Standing.MET)
_BEST_FIRST = (Standing.MET, Standing.REVOKED, Standing.STALE, Standing.MISSING)


def _result(requirement: Requirement, case: Case, now: datetime) -> Result:
    if requirement.file:
        there = requirement.file in case.files
        why = f"the revision has {requirement.file}" if there else f"the revision has no {requirement.file}"
        return Result(requirement.id, Standing.MET if there else Standing.MISSING, why, (), requirement.text)
    if requirement.of == "model":
        standing, why, statements = _of_artifact(requirement, case.model, case, now)
    elif not case.corpora:
        standing, why, statements = Standing.MISSING, "no statement says which corpus the model learned from", ()
    else:  # each corpus needs its own; the worst of them tells
        found = [(corpus, _of_artifact(requirement, corpus.digest, case, now)) for corpus in case.corpora]
        corpus, (standing, why, statements) = min(found, key=lambda item: _WORST_FIRST.index(item[1][0]))
        if standing is Standing.MET:
            statements = tuple(dict.fromkeys(statement for _, (_, _, each) in found for statement in each))
        else:
            why = f"{corpus.name}: {why}"
    return Result(requirement.id, standing, why, statements, requirement.text)


def _of_artifact(requirement: Requirement, digest: str, case: Case, now: datetime) -> tuple[Standing, str, tuple[str, ...]]:
    """The best that the statements about one artifact give; of equally good ones, the newest."""
    judged = [
        (_of_claim(requirement, claim, case, now), claim)
        for claim in case.claims
        if claim.predicate_type == requirement.predicate and claim.names(digest, requirement.role)
    ]
    if not judged:
        about = [claim for claim in case.claims if claim.predicate_type == requirement.predicate]
        old = [claim for claim in about if any(claim.names(other, requirement.role) for other in case.earlier)]
        if requirement.of == "model" and old:
            return Standing.STALE, "there is one for an earlier revision only", (max(old, key=lambda claim: (claim.at, claim.id)).id,)
        return Standing.MISSING, "there is none", ()
    (standing, why), claim = max(judged, key=lambda item: (-_BEST_FIRST.index(item[0][0]), item[1].at, item[1].id))
    return standing, why, (claim.id,)


def _of_claim(requirement: Requirement, claim: Claimed, case: Case, now: datetime) -> tuple[Standing, str]:
    if claim.broken:
        return Standing.REVOKED, claim.broken
    if problem := TESTS[requirement.test](claim, case):
        return Standing.MISSING, problem
    if requirement.fresh and case.made_at is not None and claim.at < case.made_at:
        return Standing.STALE, "it was made before the revision was"
    if requirement.max_age_days is not None and now - claim.at > timedelta(days=requirement.max_age_days):
        return Standing.STALE, f"it is older than {requirement.max_age_days} days"
    return Standing.MET, f"stated {stamp(claim.at)[:10]}"


def _has_licences(claim: Claimed, _case: Case) -> str:
    if any(material.kind == "licence" for material in claim.materials) or claim.predicate.get("licences"):
        return ""
    return "its statement names no licence"


def _made_from_corpus(claim: Claimed, _case: Case) -> str:
    return "" if any(material.kind == "corpus" for material in claim.materials) else "its statement names no corpus"


def _passes_on_stack(claim: Claimed, case: Case) -> str:
    """The certificate's rows for the stack all say pass. `name:file` is one of the rows of `name`, and can be asked for by itself."""
    rows = claim.predicate.get("rows") or []
    verdicts = {str(row.get("stack")): str(row.get("verdict")) for row in rows if isinstance(row, Mapping)}
    wanted = {stack: verdict for stack, verdict in verdicts.items() if case.stack in (stack, stack.split(":")[0])}
    if not wanted:
        return f"the certificate does not speak of the stack {case.stack}"
    failed = [f"{stack}: {verdict}" for stack, verdict in sorted(wanted.items()) if verdict != "pass"]
    return f"the certificate says {', '.join(failed)}" if failed else ""


TESTS: dict[str, Callable[[Claimed, Case], str]] = {
    "": lambda _claim, _case: "",
    "licences": _has_licences,
    "made-from-corpus": _made_from_corpus,
    "stack": _passes_on_stack,
}
"""What a profile can ask of a statement beyond its being there; each answers what is wrong, or ''."""


def conflict(requester: str, organisation: str, reviewer: str, reviewers: Collection[str], controlled_by: Mapping[str, str | None]) -> str:
    """Why a reviewer is not independent of a request, or ''.

    `reviewers`: the organisations the reviewer belongs to. Two organisations are related when control leads to the same one at the
    top: parents, children and siblings alike.
    """
    if reviewer == requester:
        return "they asked for it themselves"
    if organisation in reviewers:
        return f"they belong to {organisation}, which asks for it"
    if not reviewers:
        return "they belong to no organisation"
    top = _top(organisation, controlled_by)
    for other in sorted(reviewers):
        if _top(other, controlled_by) == top:
            return f"they belong to {other}, which stands under the same control as {organisation}"
    return ""


def _top(organisation: str, controlled_by: Mapping[str, str | None]) -> str:
    """Who controls in the end; in a circle, the first name of the circle in the alphabet."""
    path = [organisation]
    while (above := controlled_by.get(path[-1])) is not None:
        if above in path:
            return min(path[path.index(above) :])
        path.append(above)
    return path[-1]


def next_number(year: int, taken: Iterable[str]) -> str:
    """LL-<year>-<four digits or more>, one after the last of that year."""
    prefix = f"LL-{year}-"
    last = max((int(number.removeprefix(prefix)) for number in taken if number.startswith(prefix)), default=0)
    return f"{prefix}{last + 1:04d}"
