"""What terms and conditions come to. Pure.

A version is as closed as its most closed source, and its conditions are those of all of them: a purpose is allowed that every source
allows, and every attribution is to be given.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from lilong.floors.corpus.contract import Conditions, SourceSet, Terms, Use, Version, Without
from lilong.ground.errors import BadInput

PURPOSES = ("training", "evaluation")
_OF_FLOORS = {"training": "training", "evaluation": "evaluation", "compat": "evaluation"}
_ORDER = (Terms.PRIVATE, Terms.ALLIANCE, Terms.PUBLIC)
_LONGEST = 2_000  # characters of an attribution or a note


def check_conditions(conditions: Conditions) -> None:
    """Raises BadInput."""
    for purpose in conditions.purposes:
        if purpose not in PURPOSES:
            raise BadInput(
                field="conditions.purposes", problem=f"{purpose[:40]!r} is none", way_out=f"Give {' or '.join(PURPOSES)}, or none for any."
            )
    for field, text in (("attribution", conditions.attribution), ("note", conditions.note)):
        if len(text) > _LONGEST:
            raise BadInput(
                field=f"conditions.{field}", problem=f"it has {len(text):,} characters", way_out=f"Give {_LONGEST:,} at the most."
            )


def closest(terms: Iterable[Terms]) -> Terms:
    """The most closed of these; private where there are none."""
    return min(terms, key=_ORDER.index, default=Terms.PRIVATE)


def together(conditions: Sequence[Conditions]) -> Use:
    """The conditions of all sources at once."""
    limited = [set(one.purposes) for one in conditions if one.purposes]
    purposes = [each for each in PURPOSES if all(each in one for one in limited)] if limited else None
    return Use(
        purposes, list(dict.fromkeys(one.attribution for one in conditions if one.attribution)),
        list(dict.fromkeys(one.note for one in conditions if one.note)),
    )  # fmt: skip


def may_build_from(organisation: str, of: SourceSet, members: Collection[str]) -> str | None:
    """Why an organisation may not build from a source set, and the way out; None where it may."""
    if of.organisation == organisation or of.terms is Terms.PUBLIC:
        return None
    if of.terms is Terms.PRIVATE:
        return f"Ask {of.organisation} to share it with the alliance."
    return None if organisation in members else f"Join the alliance first: lilong corpus alliance join {organisation}."


def purpose(job_kind: str, labels: Mapping[str, str]) -> str:
    """What a job is for: by its kind, or by what its label `purpose` says; other, where nothing does."""
    return _OF_FLOORS.get(job_kind.partition(".")[0]) or labels.get("purpose", "other")


def read_versions(by_file: Mapping[str, Sequence[Version]]) -> list[str]:
    """The ids of the versions that are read with these files. Where one version's share of them is a part of another's, only the other is."""
    parts: dict[str, set[str]] = {}
    for digest, versions in by_file.items():
        for one in versions:
            parts.setdefault(one.id, set()).add(digest)
    return sorted(each for each, part in parts.items() if not any(part < other for other in parts.values()))


def refusal(
    version: Version, sets: Sequence[SourceSet], organisation: str, wanted: str, members: Collection[str], successor: str | None
) -> str | None:
    """Why an organisation may not use a version for a purpose, and the way out; None where it may.

    `sets`: of which it was made; none of a run that was published. `successor`: the version to use instead of one that was put out of use.
    """
    called = f"the corpus version {version.repository}@{(version.commit or '')[:12]}"
    asks = f"{organisation} may not use {called} for {wanted}"
    if version.superseded is not None:
        way_out = f"Use {successor}" if successor else "Wait for the version without it"
        return f"{asks}: it was put out of use by the takedown {version.superseded.takedown} ({version.superseded.reason}). {way_out}."
    if version.terms is Terms.PRIVATE and organisation != version.organisation:
        return (
            f"{asks}: its terms are private to {version.organisation}. Ask {version.organisation} to share its sources with the alliance."
        )
    owners = [(one.organisation, one.terms) for one in sets] or [(version.organisation, version.terms)]
    foreign = sorted({owner for owner, terms in owners if terms is Terms.ALLIANCE and owner != organisation})
    if foreign and organisation not in members:
        way_out = f"Ask to join: lilong corpus alliance join {organisation}"
        return f"{asks}: texts of {', '.join(foreign)} in it are for members of the data corpus alliance, and {organisation} is none. {way_out}."
    allowed = version.conditions.purposes
    if allowed is not None and wanted not in allowed:
        said = " and ".join(allowed) or "no purpose that all of its sources allow"
        way_out = (
            "Ask its contributors"
            if wanted in PURPOSES
            else f"Say what the job is for with its label purpose={allowed[0] if allowed else 'training'}, or ask its contributors"
        )
        limited = sorted({one.contributor for one in sets if one.conditions.purposes and wanted not in one.conditions.purposes})
        return f"{asks}: {', '.join(limited or version.contributors)} gave texts for {said} only. {way_out}."
    return None


def added(*given: Without) -> Without:
    """All that one or the other leaves out."""
    kinds = zip(*((one.documents, one.sources, one.contributors) for one in given), strict=True)
    return Without(*(sorted({name for names in kind for name in names}) for kind in kinds))
