"""Duplicates of a version: the largest clusters, and two documents side by side with what differs marked."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lilong.floors.corpus.curation.exploring import CLUSTERS
from lilong.floors.corpus.curation.exploring.documents import Version
from lilong.floors.corpus.curation.exploring.tables import Rows, key_of
from lilong.floors.corpus.curation.exploring.verdicts import NoSuchDocument, text_of

MEMBERS = 50
"""Documents of one cluster that are listed."""
COMPARED = 64 << 10
"""Characters of each text that are compared."""
AROUND = 12
"""Equal words that are shown on each side of a difference."""
_STEPS = 20_000_000  # that one comparison may take, a second or so; texts that are made for it would take minutes
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]\s*|[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]+\s*|[^\w\s]\s*|\s+"
)


@dataclass(frozen=True, slots=True)
class Cluster:
    cluster: str
    size: int
    exact: int
    near: int
    sources: list[str]
    representative: str
    uri: str


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a comparison. `kind`: same, only-left, only-right or changed; `skipped`: equal words in the middle that are not shown."""

    kind: str
    left: str
    right: str
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Beside:
    """A cluster's documents, and two of them compared. `pieces` is None where a text is not there to be shown. `same`, `only_left`,
    `only_right` count words; `cut`: only the first COMPARED characters were compared."""

    cluster: str
    members: list[dict[str, Any]]
    documents: int
    left: dict[str, Any]
    right: dict[str, Any]
    pieces: list[Piece] | None
    same: int = 0
    only_left: int = 0
    only_right: int = 0
    cut: bool = False

    @property
    def share(self) -> float:
        """Equal words among all."""
        return self.same / max(self.same + max(self.only_left, self.only_right), 1)


def clusters(version: Version, start: int = 0, limit: int = CLUSTERS, why: str = "") -> tuple[list[Cluster], int]:
    """The largest clusters, and how many there are. `why`: only those with documents that are `exact` or `near` so."""
    table = version.clusters
    if not table.rows:
        return [], 0
    _, first, inverse = np.unique(table.keys("cluster"), return_index=True, return_inverse=True)
    sizes, whys, sources = np.bincount(inverse), table.coded("why"), table.coded("source")
    counted = {word: np.bincount(inverse[whys.codes == whys.number(word)], minlength=len(sizes)) for word in ("exact", "near")}
    order = np.lexsort((first, -sizes))
    order = order[counted[why][order] > 0] if why else order
    chosen = order[start : start + limit]
    speaks = np.flatnonzero((whys.codes == whys.number("representative")) & np.isin(inverse, chosen)).astype(np.int64)
    found = []
    for row, one in table.take(speaks, ["id", "uri", "cluster"]):
        at = int(inverse[row])
        names = sorted(sources.names[code] for code in np.unique(sources.codes[inverse == at]).tolist())
        found.append(
            Cluster(
                one["cluster"], int(sizes[at]), int(counted["exact"][at]), int(counted["near"][at]), names,
                one["id"], one["uri"],
            )
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one.size, one.cluster)), len(order)


def beside(version: Version, cluster: str, left: str = "", right: str = "") -> Beside:
    """Two documents of a cluster side by side: by default the one that speaks for it, and the first that is near to it.

    Raises NoSuchDocument for a cluster that is not there, and for documents that are not in it.
    """
    rows = _members(version, cluster)
    if not len(rows):
        raise NoSuchDocument(name=cluster[:100])
    named = [one for _, one in version.clusters.take(rows[: 20 * MEMBERS], version.clusters.names)]
    members = sorted(named, key=lambda one: (one["why"] != "representative", one["why"] != "near", one["id"], one["source"], one["uri"]))
    one = _chosen(members, left, members[0])
    other = _chosen(members, right, next((each for each in members if each["id"] != one["id"]), members[-1]))
    first, _ = text_of(version, one["id"])
    second, _ = (first, {}) if other["id"] == one["id"] else text_of(version, other["id"])
    if first is None or second is None:
        return Beside(members[0]["cluster"], members[:MEMBERS], len(rows), one, other, None)
    pieces = words_compared(first[:COMPARED], second[:COMPARED])
    counted = {"same": 0, "only_left": 0, "only_right": 0}
    for piece in pieces:
        counted["same"] += len(words(piece.left)) if piece.kind == "same" else 0
        counted["only_left"] += len(words(piece.left)) if piece.kind != "same" else 0
        counted["only_right"] += len(words(piece.right)) if piece.kind != "same" else 0
    cut = len(first) > COMPARED or len(second) > COMPARED
    return Beside(
        members[0]["cluster"], members[:MEMBERS], len(rows), one, other, [shortened(piece) for piece in pieces], **counted, cut=cut
    )


def _members(version: Version, cluster: str) -> Rows:
    if not re.fullmatch(r"[0-9a-f]{64}", cluster) or not version.clusters.rows:
        return np.zeros(0, np.int64)
    return np.flatnonzero(version.clusters.keys("cluster") == key_of(cluster)).astype(np.int64)


def _chosen(members: Sequence[dict[str, Any]], wanted: str, otherwise: dict[str, Any]) -> dict[str, Any]:
    if not wanted:
        return otherwise
    for one in members:
        if one["id"] == wanted:
            return one
    raise NoSuchDocument(name=wanted[:100])


def shared(version: Version, owners: Mapping[str, str], whose: str) -> list[tuple[str, int]]:
    """With whom a contributor has duplicates: (other contributor, documents of `whose` in a cluster where that one has a document too), the
    most first. `owners`: source -> contributor."""
    if not version.clusters.rows:
        return []
    _, cluster = np.unique(version.clusters.keys("cluster"), return_inverse=True)
    source = version.clusters.coded("source")
    names = sorted({owners.get(name, "") for name in source.names} | {whose})
    owner = np.array([names.index(owners.get(name, "")) for name in source.names], np.int64)[source.codes]
    own = np.bincount(cluster[owner == names.index(whose)], minlength=int(cluster.max()) + 1)
    found = []
    for number, name in enumerate(names):
        if name and name != whose:
            there = np.unique(cluster[owner == number])
            found.append((name, int(own[there].sum())))
    return sorted((one for one in found if one[1]), key=lambda one: (-one[1], one[0]))


# --- words ---------------------------------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """A text in words with the white space that follows them; each Han character, kana and Hangul syllable is one. Joined they are the text."""
    return _WORD.findall(text)


def words_compared(left: str, right: str) -> list[Piece]:
    """What two texts share and what each has for itself, by words: first by lines, then inside the lines that differ.

    Joined, the left sides are the left text and the right sides the right one. A stretch of very many different words is one change.
    """
    found: list[Piece] = []
    lines = left.splitlines(keepends=True), right.splitlines(keepends=True)
    budget = [_STEPS]
    for tag, a, b, c, d in _compared(*lines, budget):
        one, other = "".join(lines[0][a:b]), "".join(lines[1][c:d])
        _add(found, [Piece("same", one, other)] if tag == "equal" else _inside(one, other, budget))
    return found


class _TooLong(Exception):
    pass


class _Matcher(difflib.SequenceMatcher[str]):
    """Stops when its budget is spent: it looks for the longest match again and again, each time through all pairs of equal words."""

    def __init__(self, one: Sequence[str], other: Sequence[str], budget: list[int]) -> None:
        super().__init__(None, one, other, autojunk=False)
        self._one, self._often, self._budget = one, Counter(other), budget

    def find_longest_match(self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None) -> difflib.Match:
        self._budget[0] -= sum(1 + self._often[word] for word in self._one[alo:ahi])
        if self._budget[0] < 0:
            raise _TooLong
        return super().find_longest_match(alo, ahi, blo, bhi)


def _compared(one: Sequence[str], other: Sequence[str], budget: list[int]) -> list[tuple[str, int, int, int, int]]:
    """What was the same and what not; where that would take too long, one change."""
    try:
        return list(_Matcher(one, other, budget).get_opcodes())
    except _TooLong:
        return [("replace", 0, len(one), 0, len(other))]


def _inside(left: str, right: str, budget: list[int]) -> list[Piece]:
    one, other = words(left), words(right)
    if not one or not other:
        return _piece(left, right)
    found: list[Piece] = []
    for tag, a, b, c, d in _compared(one, other, budget):
        first, second = "".join(one[a:b]), "".join(other[c:d])
        found += [Piece("same", first, second)] if tag == "equal" else _piece(first, second)
    return found


def _piece(left: str, right: str) -> list[Piece]:
    if not left and not right:
        return []
    return [Piece("changed" if left and right else "only-left" if left else "only-right", left, right)]


def _add(found: list[Piece], more: Sequence[Piece]) -> None:
    """Neighbours of one kind become one piece."""
    for piece in more:
        if found and (found[-1].kind == "same") == (piece.kind == "same"):
            last = found.pop()
            left, right = last.left + piece.left, last.right + piece.right
            found += [Piece("same", left, right)] if piece.kind == "same" else _piece(left, right)
        else:
            found.append(piece)


def shortened(piece: Piece, around: int = AROUND) -> Piece:
    """Of a long stretch that is the same, its beginning and end."""
    if piece.kind != "same":
        return piece
    every = words(piece.left)
    if len(every) <= 3 * around:
        return piece
    return Piece("same", "".join(every[:around]).rstrip(), "".join(every[-around:]), len(every) - 2 * around)
