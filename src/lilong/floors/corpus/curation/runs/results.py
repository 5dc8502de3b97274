"""Questions to a finished run: why a document was kept or dropped, and what another policy would change."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.policies import comparison
from lilong.floors.corpus.curation.policies.evaluation import decide
from lilong.floors.corpus.curation.policies.policy import Policy, parse_policy, read_policy
from lilong.floors.corpus.curation.reading import again
from lilong.floors.corpus.curation.runs.engine import INPUTS, REPORT
from lilong.floors.corpus.curation.runs.gather import DROPPED
from lilong.ground.errors import BadInput, NotFound

_EXCERPT = 400
_SHOWN = 20


class NoRun(NotFound):
    """The folder {folder} holds no finished curation run. Give the --out folder of `lilong corpus curate`."""


class NoSuchDocument(NotFound):
    """The run in {folder} has read no document '{name}'. Give six digits of an id at least, a uri as decisions.parquet has it, or source/uri."""


class SeveralDocuments(BadInput):
    """'{name}' is the beginning of {count} ids: {ids}. Give more digits."""


class SeveralPlaces(BadInput):
    """Several documents are called '{name}': {ids}. Give one of these ids."""


@dataclass(frozen=True)
class Results:
    """The folder of a finished run."""

    folder: Path
    report: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> Results:
        """Raises NoRun."""
        path = folder / REPORT
        if not path.is_file():
            raise NoRun(folder=folder)
        return cls(folder, json.loads(path.read_bytes()))

    @cached_property
    def policy(self) -> Policy:
        """The policy that the run decided by."""
        said = dict(self.report["run"]["policy"])
        said.pop("digest")
        return parse_policy(said, self.signals)

    @cached_property
    def signals(self) -> tuple[str, ...]:
        return tuple(name for name in pq.read_schema(self._path("signals")).names if name != "id")

    def explain(self, name: str) -> dict[str, Any]:
        """All that decided about a document: where it was read, the verdict on each reading, every rule with the document's number, its
        cluster. `name`: an id, six digits of it at least, a uri, or source/uri. Raises NoSuchDocument, SeveralDocuments, SeveralPlaces."""
        identity = self._identity(name)
        signals = self._rows("signals", identity)
        readings = self._rows("decisions", identity).drop_columns(["id"]).to_pylist()
        text = self._text(identity, readings[0]["uri"])
        return {
            "id": identity,
            "readings": readings,
            "rules": self._rules(signals),
            "signals": {key: value for key, value in signals.to_pylist()[0].items() if key != "id"},
            "cluster": self._cluster(identity),
            "excerpt": None if text is None else text[:_EXCERPT],
        }

    def compare(self, path: Path, samples: int = comparison.SAMPLES) -> comparison.Difference:
        """What the policy in a file would decide otherwise. Raises BadPolicy."""
        other = read_policy(path, self.signals)
        wanted = sorted({*self.policy.signals(), *other.signals()})
        return comparison.difference(self.policy, other, self._columns(wanted), self._distinct(), samples)

    def explore(self, reason: str, limits: Sequence[float], path: Path | None = None) -> list[comparison.Tried]:
        """What other limits of a rule would do, in the run's policy or in the one in a file. Raises BadPolicy."""
        policy = read_policy(path, self.signals) if path else self.policy
        return comparison.explore(policy, reason, limits, self._columns(list(policy.signals())))

    def _path(self, table: str) -> Path:
        return self.folder / f"{table}.parquet"

    def _columns(self, names: list[str]) -> pa.Table:
        return pq.read_table(self._path("signals"), columns=names or ["id"])

    def _distinct(self) -> pa.Table:
        """id and source of each different text, in the order of the signals."""
        columns = ["id", "source"]
        return pq.read_table(self._path("decisions"), columns=columns, filters=[("reason", "!=", "exact_duplicate")])

    def _rows(self, table: str, identity: str) -> pa.Table:
        return pq.read_table(self._path(table), filters=[("id", "=", identity)])

    def _text(self, identity: str, uri: str) -> str | None:
        """The text as it was written; of a dropped document as it was read, if the run has kept it or its input is still where it was."""
        for table in ("documents", DROPPED):
            if self._path(table).is_file():
                found = self._rows(table, identity)
                if found.num_rows:
                    return str(found.column("text")[0].as_py())
        remembered = self.folder / INPUTS
        if not remembered.is_file():
            return None
        return again.text_of(json.loads(remembered.read_bytes()), identity, uri)

    def _identity(self, name: str) -> str:
        if re.fullmatch(r"[0-9a-fA-F]{6,64}", name):
            start = name.lower()
            between = (pc.field("id") >= start) & (pc.field("id") < start + "g")
            found = pc.unique(pq.read_table(self._path("decisions"), columns=["id"], filters=between).column("id")).to_pylist()
            if len(found) > 1:
                raise SeveralDocuments(name=name, count=len(found), ids=", ".join(one[: len(name) + 6] for one in found[:5]))
            if found:
                return str(found[0])
        places = [(name[: at.start()], name[at.end() :]) for at in re.finditer("/", name)]
        wanted = [[("uri", "=", name)], *([("source", "=", source), ("uri", "=", uri)] for source, uri in places)]
        found = pc.unique(pq.read_table(self._path("decisions"), columns=["id"], filters=wanted).column("id")).to_pylist()
        if not found:
            raise NoSuchDocument(folder=self.folder, name=name)
        if len(found) > 1:
            raise SeveralPlaces(name=name, ids=", ".join(one[:12] for one in found[:5]))
        return str(found[0])

    def _rules(self, signals: pa.Table) -> list[dict[str, Any]]:
        """Each rule with the document's own number, and whether it holds; also those after the first that does."""
        found = []
        for rule in self.policy.rules:
            alone = Policy("", "", "", (rule,))
            value = signals.column(rule.drop.signal)[0].as_py()
            found.append(
                {"step": rule.step, "reason": rule.reason, "value": value, "drops": not decide(alone, signals).keep[0], **_said(rule)}
            )
        return found

    def _cluster(self, identity: str) -> dict[str, Any] | None:
        own = self._rows("clusters", identity).to_pylist()
        if not own:
            return None
        members = pq.read_table(self._path("clusters"), filters=[("cluster", "=", own[0]["cluster"])])
        shown = members.select(["id", "source", "uri", "why", "bands"]).slice(0, _SHOWN).to_pylist()
        return {"representative": own[0]["representative"], "documents": members.num_rows, "members": shown}


def _said(rule: Any) -> dict[str, Any]:
    when = {"when": [str(one) for one in rule.when]} if rule.when else {}
    return {"drop": str(rule.drop), **when}
