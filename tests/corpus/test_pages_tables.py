"""What the explorer works out of a version's tables: lists, search, spreads, limits and differences, each against a plain reference."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.exploring import SHOWN, alike, documents, search, signals, tables, verdicts
from lilong.floors.corpus.curation.exploring.documents import Version, Wanted
from lilong.floors.corpus.curation.exploring.tables import KEPT, Kept, Table
from lilong.floors.corpus.curation.exploring.verdicts import NoSuchDocument, SeveralDocuments
from lilong.floors.corpus.pages import pictures
from lilong.ground.errors import BadInput, Corrupt

COUNT = 400
POLICY = {
    "name": "tried", "version": "1", "profile": "none",
    "rules": [
        {"step": "length", "reason": "too_short", "drop": "tokens < 20"},
        {"step": "text", "reason": "few_letters", "drop": "letters < 0.2", "when": "tokens >= 50"},
    ],
}  # fmt: skip


def rows() -> list[dict[str, Any]]:
    """Documents as plain dictionaries, in the order of ids: what the tables are written from, and checked against."""
    drawn = random.Random(7)
    found = []
    for number in range(COUNT):
        tokens, letters = int(drawn.paretovariate(0.6) * 6), drawn.random()
        text = f"Document {number} says {'anchor' if number % 9 == 0 else 'buoy'} {drawn.random()} " + "word " * (tokens % 50)
        reason = (
            "too_short"
            if tokens < 20
            else "few_letters"
            if letters < 0.2 and tokens >= 50
            else "near_duplicate"
            if number % 31 == 0
            else ""
        )
        found.append({
            "id": hashlib.sha256(text.encode()).hexdigest(), "text": text, "source": f"source-{number % 3}", "uri": f"{number}.txt", "tokens": tokens,
            "letters": None if number == 17 else letters, "language": ("en", "zh", "sv")[number % 3], "reason": reason,
            "step": {"too_short": "length", "few_letters": "text", "near_duplicate": "duplicates", "": ""}[reason],
        })  # fmt: skip
    return sorted(found, key=lambda one: one["id"])


ROWS = rows()


def kept() -> list[dict[str, Any]]:
    return [one for one in ROWS if not one["reason"]]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    folder = tmp_path_factory.mktemp("tables")

    def write(name: str, records: list[dict[str, Any]], schema: pa.Schema | None = None) -> Path:
        path = folder / f"{name.replace('/', '-')}.parquet"
        pq.write_table(pa.Table.from_pylist(records, schema), path, row_group_size=64)
        return path

    said = [
        {**{key: one[key] for key in ("id", "source", "uri", "step", "reason")}, "keep": not one["reason"], "detail": ""} for one in ROWS
    ]
    copy = {**said[5], "uri": "copy.txt", "step": "duplicates", "reason": "exact_duplicate", "keep": False}
    broken = {"id": None, "source": "source-1", "uri": "broken.bin", "step": "reading", "reason": "not_text", "keep": False, "detail": ""}
    alike = [{
        "id": one["id"], "source": one["source"], "uri": one["uri"], "cluster": ROWS[0]["id"], "size": 3, "representative": ROWS[1]["id"],
        "kept": number == 1, "why": "representative" if number == 1 else "near", "bands": 2,
    } for number, one in enumerate(ROWS[:3])]  # fmt: skip
    files = {
        "tables/decisions.parquet": write("decisions", [*said[:6], copy, *said[6:], broken]),
        "tables/signals.parquet": write("signals", [{key: one[key] for key in ("id", "language", "tokens", "letters")} for one in ROWS]),
        "tables/clusters.parquet": write("clusters", alike),
        "data/train-00000.parquet": write("train", [{key: one[key] for key in ("id", "text", "source")} for one in kept()[::2]]),
        "data/heldout-00000.parquet": write("heldout", [{key: one[key] for key in ("id", "text", "source")} for one in kept()[1::2]]),
    }
    review = write("review", [{"id": one["id"], "text": one["text"]} for one in ROWS if one["reason"]])
    return Version(files, POLICY, review)


def fitting(wanted: Wanted) -> list[str]:
    """The slow way to the ids that fit."""
    return [
        one["id"]
        for one in ROWS
        if (not wanted.verdict or (wanted.verdict == "kept") == (not one["reason"]))
        and (not wanted.reason or one["reason"] == wanted.reason)
        and (not wanted.source or one["source"] == wanted.source)
        and (not wanted.language or one["language"] == wanted.language)
        and (wanted.low is None or (one[wanted.signal] is not None and one[wanted.signal] >= wanted.low))
        and (wanted.high is None or (one[wanted.signal] is not None and one[wanted.signal] <= wanted.high))
    ]


# --- lists ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(), Wanted(verdict="kept"), Wanted(verdict="dropped", source="source-1"), Wanted(reason="too_short"), Wanted(language="zh"),
        Wanted(signal="tokens", low=10, high=30), Wanted(signal="letters", high=0.5), Wanted(source="nowhere"), Wanted(reason="no_such_reason"),
    ],
)  # fmt: skip
def test_a_list_holds_what_fits_in_the_order_of_ids(version: Version, wanted: Wanted) -> None:
    found, expected = documents.listed(version, wanted), fitting(wanted)
    assert found.of == len(expected)
    assert [one.id for one in found.lines] == expected[:SHOWN]
    assert (found.next is not None) == (len(expected) > SHOWN)


def test_pages_follow_one_another_without_gap(version: Version) -> None:
    seen, start = list[str](), 0
    while start is not None:
        found = documents.listed(version, Wanted(verdict="kept"), start)
        seen += [one.id for one in found.lines]
        start = found.next  # type: ignore[assignment]
    assert seen == [one["id"] for one in kept()]


def test_a_sample_is_of_what_fits_and_another_number_gives_another(version: Version) -> None:
    first, second = (documents.listed(version, Wanted(verdict="kept"), sample=number) for number in (1, 2))
    assert {one.id for one in first.lines} <= {one["id"] for one in kept()}
    assert len(first.lines) == SHOWN and first.lines != second.lines
    assert documents.listed(version, Wanted(verdict="kept"), sample=1) == first


def test_lines_show_value_and_beginning_of_kept_and_dropped_texts(version: Version) -> None:
    for line in documents.listed(version, Wanted(signal="tokens", low=0)).lines:
        own = next(one for one in ROWS if one["id"] == line.id)
        assert (line.value, line.source, line.uri, line.reason) == (own["tokens"], own["source"], own["uri"], own["reason"])
        assert line.text == " ".join(own["text"].split())[: documents.EXCERPT]


def test_texts_of_dropped_documents_are_left_out_for_whom_they_are_not(version: Version) -> None:
    closed = Version(version.files, version.policy_said)
    found = documents.listed(closed, Wanted(verdict="dropped"))
    assert found.lines and all(one.text is None for one in found.lines)
    assert verdicts.explain(closed, found.lines[0].id).text is None
    assert search.search(closed, "Document", Wanted(verdict="dropped")).lines == []


def test_excerpts_stop_at_their_bound_and_the_list_does_not(version: Version, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "EXCERPT_BYTES", 1)
    found = documents.listed(version, Wanted(verdict="kept"), limit=COUNT)
    shown = [one for one in found.lines if one.text is not None]
    assert 0 < len(shown) < len(found.lines) == len(kept())


def test_a_signal_that_is_not_there_or_no_number_is_refused(version: Version) -> None:
    for name in ("nothing", "language", "id", ""):
        with pytest.raises(BadInput, match="no signal"):
            documents.listed(version, Wanted(signal=name, low=1))


def test_tables_of_other_documents_are_refused(version: Version, tmp_path: Path) -> None:
    other = tmp_path / "signals.parquet"
    pq.write_table(pa.table({"id": ["e" * 64], "tokens": [1]}), other)
    with pytest.raises(Corrupt, match=r"signals\.parquet"):
        _ = Version({**version.files, "tables/signals.parquet": other}, POLICY).frame


# --- search --------------------------------------------------------------------------------------------------------------


def holding(words: str, among: list[dict[str, Any]]) -> set[str]:
    return {one["id"] for one in among if words.lower() in one["text"].lower()}


def test_search_goes_on_until_every_text_was_looked_through(version: Version) -> None:
    seen, start, looked = set[str](), 0, 0
    while start is not None:
        found = search.search(version, "ANCHOR", Wanted(), start, limit=7)
        assert all(one.text is not None and one.hit is not None and one.text[slice(*one.hit)] == "anchor" for one in found.lines)
        seen |= {one.id for one in found.lines}
        looked += found.looked
        start = found.next  # type: ignore[assignment]
    assert seen == holding("anchor", ROWS)
    assert looked == len(ROWS)


def test_search_stops_at_its_bound_and_says_how_far_it_came(version: Version) -> None:
    found = search.search(version, "no such words anywhere", Wanted(verdict="kept"), most_bytes=1)
    assert found.lines == [] and 0 < found.looked < found.of == len(kept()) and found.next == found.looked
    whole = search.search(version, "no such words anywhere", Wanted(verdict="kept"))
    assert whole.looked == whole.of and whole.next is None


def test_search_keeps_to_the_filter(version: Version) -> None:
    found = search.search(version, "anchor", Wanted(verdict="kept", source="source-0"), limit=1000)
    assert {one.id for one in found.lines} == holding("anchor", [one for one in kept() if one["source"] == "source-0"])


def test_search_takes_signs_as_they_are(version: Version) -> None:
    assert search.search(version, ".*", Wanted()).lines == []
    for words in ("", "  ", "x" * 201):
        with pytest.raises(BadInput):
            search.search(version, words, Wanted())


# --- verdicts ------------------------------------------------------------------------------------------------------------


def test_a_document_is_told_with_its_readings_rules_and_text(version: Version) -> None:
    own = next(one for one in ROWS if one["reason"] == "few_letters")
    found = verdicts.explain(version, own["id"][:12])
    assert (found.id, found.keep, found.reason, found.text) == (own["id"], False, "few_letters", own["text"])
    assert [(rule.reason, rule.drops, rule.decided) for rule in found.rules] == [("too_short", False, False), ("few_letters", True, True)]
    assert found.rules[1].value == own["letters"] and found.rules[1].when == ["tokens >= 50"]
    assert len(verdicts.explain(version, ROWS[5]["id"]).readings) == 2


def test_an_id_that_is_not_there_or_none_is_not_found(version: Version) -> None:
    for name in ("0" * 64, "zz", "", "../../etc", "ABCDEF", ROWS[0]["id"][:5], ROWS[0]["id"][:20] + "0" * 44):
        with pytest.raises(NoSuchDocument):
            verdicts.identity(version, name)


def test_the_beginning_of_several_ids_is_told_as_such(tmp_path: Path) -> None:
    ids = ["ab" * 31 + "cd", "ab" * 31 + "ef"]
    pq.write_table(pa.table({"id": ids, "tokens": [1, 2]}), tmp_path / "signals.parquet")
    with pytest.raises(SeveralDocuments, match="2 ids"):
        verdicts.identity(Version({"tables/signals.parquet": tmp_path / "signals.parquet"}, POLICY), "ab" * 31)


def test_rates_count_every_reading_and_files_that_gave_no_document(version: Version) -> None:
    found = {one.source: one for one in verdicts.rates(version)}
    assert sum(one.documents for one in found.values()) == COUNT + 2
    assert sum(one.kept for one in found.values()) == len(kept())
    assert dict(found["source-1"].reasons)["not_text"] == 1
    told = {(step, reason): count for step, reason, count in verdicts.reasons(version)}
    assert told["length", "too_short"] == sum(one["reason"] == "too_short" for one in ROWS)
    assert told["reading", "not_text"] == told["duplicates", "exact_duplicate"] == 1
    assert next(iter(told)) == ("duplicates", "exact_duplicate")


# --- signals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", ["tokens", "letters", "language"])
def test_a_spread_counts_every_document_once(version: Version, signal: str) -> None:
    found = signals.spread(version, signal)
    assert sum(one.kept + one.dropped for one in found.bins) + found.missing == COUNT
    assert found.missing == (signal == "letters")
    assert sum(one.kept for one in found.bins) <= len(kept())


def test_bins_hold_what_lies_between_their_edges(version: Version) -> None:
    found = signals.spread(version, "tokens")
    assert found.log and found.bins[0].low == min(one["tokens"] for one in ROWS)
    for number, one in enumerate(found.bins):
        last = number == len(found.bins) - 1
        expected = [row for row in ROWS if one.low <= row["tokens"] < one.high or (last and row["tokens"] == one.high)]
        assert one.kept + one.dropped == len(expected)
        assert one.kept == sum(not row["reason"] for row in expected)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.floats(-1e9, 1e9), st.integers(0, 10**7).map(float)), min_size=1, max_size=60), st.integers(1, 50))
def test_edges_rise_and_cover_all_values(values: list[float], bins: int) -> None:
    edges, _ = signals.cuts(np.array(values), bins)
    assert (np.diff(edges) > 0).all() and 2 <= len(edges) <= bins + 2
    assert edges[0] <= min(values) and edges[-1] >= max(values)


def test_a_threshold_says_what_the_whole_policy_would_do(version: Version) -> None:
    found = signals.threshold(version, "tokens", "<", 30)
    dropped = [one for one in ROWS if one["tokens"] < 30]
    assert found.instead_of is not None and found.instead_of.reason == "too_short"
    assert found.caught == len(dropped)

    def decided(one: dict[str, Any], limit: int) -> bool:
        return not (one["tokens"] < limit or (one["letters"] is not None and one["letters"] < 0.2 and one["tokens"] >= 50))

    before, after = [one for one in ROWS if decided(one, 20)], [one for one in ROWS if decided(one, 30)]
    assert (found.kept_before, found.kept_after) == (len(before), len(after))
    assert found.newly_dropped == len(before) - len(after) and found.newly_kept == 0
    lost = {one["id"] for one in before} - {one["id"] for one in after}
    assert {one.id for one in found.lost} <= lost and len(found.lost) == min(len(lost), signals.SAMPLES)
    for one in found.sources:
        assert one.kept_after == sum(row["source"] == one.source for row in after)


def test_a_looser_threshold_brings_documents_back(version: Version) -> None:
    found = signals.threshold(version, "tokens", "<", 5)
    assert found.newly_dropped == 0 and found.newly_kept == len({one["id"] for one in ROWS if 5 <= one["tokens"] < 20})
    assert all(one.reason == "too_short" for one in found.gained)


def test_a_comparison_that_the_policy_has_not_comes_on_top_of_it(version: Version) -> None:
    found = signals.threshold(version, "tokens", ">", 100)
    assert found.instead_of is None and found.caught == sum(one["tokens"] > 100 for one in ROWS)


@pytest.mark.parametrize(
    ("signal", "operator", "limit"), [("nothing", "<", 1.0), ("language", "<", 1.0), ("tokens", "~", 1.0), ("tokens", "<", float("nan")), ("tokens", "<", float("inf"))]
)  # fmt: skip
def test_thresholds_that_mean_nothing_are_refused(version: Version, signal: str, operator: str, limit: float) -> None:
    with pytest.raises(BadInput):
        signals.threshold(version, signal, operator, limit)


# --- duplicates ----------------------------------------------------------------------------------------------------------


def test_clusters_are_listed_and_shown_side_by_side(version: Version) -> None:
    found, count = alike.clusters(version)
    assert count == 1 and (found[0].cluster, found[0].size, found[0].near, found[0].representative) == (ROWS[0]["id"], 3, 2, ROWS[1]["id"])
    assert alike.clusters(version, why="exact") == ([], 0)
    shown = alike.beside(version, ROWS[0]["id"])
    assert shown.left["id"] == ROWS[1]["id"] and shown.right["id"] in {ROWS[0]["id"], ROWS[2]["id"]}
    assert shown.pieces is not None and 0 < shown.share < 1


def test_it_is_told_with_whom_a_contributor_has_duplicates(version: Version) -> None:
    owners = {"source-0": "lantern-works", "source-1": "harbour-lab", "source-2": "harbour-lab"}
    members = ROWS[:3]
    for whose, other in (("lantern-works", "harbour-lab"), ("harbour-lab", "lantern-works")):
        own = sum(owners[one["source"]] == whose for one in members)
        both = len({owners[one["source"]] for one in members}) == 2
        assert alike.shared(version, owners, whose) == ([(other, own)] if both else [])
    assert alike.shared(version, {}, "west-wharf") == []


def test_documents_of_other_clusters_are_not_compared(version: Version) -> None:
    for cluster, left in (("0" * 64, ""), ("nonsense", ""), (ROWS[0]["id"], ROWS[9]["id"])):
        with pytest.raises(NoSuchDocument):
            alike.beside(version, cluster, left)


PARTS = [*"abc .,\n\r\t", "\u00a0", "\u2028", "\0", "\u00e9", "e\u0301", "水", "の", "한", "🙂", "word "]
NASTY = st.lists(st.sampled_from(PARTS), max_size=60).map("".join)


@settings(max_examples=150, deadline=None)
@given(NASTY, NASTY)
def test_the_pieces_of_a_comparison_join_to_both_texts(left: str, right: str) -> None:
    pieces = alike.words_compared(left, right)
    assert "".join(one.left for one in pieces) == left
    assert "".join(one.right for one in pieces) == right
    assert all((one.left == one.right) == (one.kind == "same") for one in pieces)
    assert all((one.kind == "same") != (other.kind == "same") for one, other in itertools.pairwise(pieces))


@given(NASTY)
def test_words_join_to_the_text(text: str) -> None:
    assert "".join(alike.words(text)) == text


def test_a_comparison_of_words_finds_the_one_that_differs() -> None:
    pieces = alike.words_compared("The lamp is lit at dusk.\nAll is well.", "The lamp is put out at dusk.\nAll is well.")
    assert [(one.kind, one.left, one.right) for one in pieces if one.kind != "same"] == [("changed", "lit ", "put out ")]
    assert [one.right for one in alike.words_compared("潮汐表", "潮位表") if one.kind == "changed"] == ["位"]


def test_texts_that_would_take_too_long_to_compare_are_one_change() -> None:
    left, right = "a b " * 4000, "b a " * 4000
    pieces = alike.words_compared(left, right)
    assert [(one.kind, one.left, one.right) for one in pieces] == [("changed", left, right)]


def test_long_equal_stretches_are_shortened_and_counted() -> None:
    text = "word " * 500
    piece = alike.shortened(alike.Piece("same", text, text))
    assert piece.skipped == 500 - 2 * alike.AROUND and len(alike.words(piece.left)) == alike.AROUND


# --- tables --------------------------------------------------------------------------------------------------------------


def test_keys_are_the_first_64_bits_and_missing_ids_come_last(tmp_path: Path) -> None:
    ids = [hashlib.sha256(bytes([n])).hexdigest() for n in range(50)]
    column = pa.array([*ids, None, None]).slice(3)
    expected = [int(one[:16], 16) for one in ids[3:]] + [2**64 - 1] * 2
    assert tables.key_column(column).tolist() == expected
    assert [int(tables.key_of(one)) for one in ids[:5]] == [int(one[:16], 16) for one in ids[:5]]
    assert tables.key_column(pa.array(["ab", "abcdef0123456789ff"])).tolist() == [int("ab".ljust(16, "0"), 16), int("abcdef0123456789", 16)]


def test_only_row_groups_that_hold_a_row_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pq.write_table(pa.table({"n": list(range(1000))}), tmp_path / "n.parquet", row_group_size=100)
    read = list[int]()
    whole = Table.group

    def group(self: Table, number: int, columns: Sequence[str]) -> pa.Table:
        read.append(number)
        return whole(self, number, columns)

    monkeypatch.setattr(Table, "group", group)
    assert [one["n"] for _, one in Table(tmp_path / "n.parquet").take(np.array([5, 250, 251, 999]), ["n"])] == [5, 250, 251, 999]
    assert read == [0, 2, 9]


def test_what_is_kept_stays_within_its_bound() -> None:
    held, made = Kept(100), list[int]()

    def make(number: int) -> Callable[[], tuple[int, int]]:
        def made_now() -> tuple[int, int]:
            made.append(number)
            return number, 40

        return made_now

    for number in (1, 2, 1, 3, 1, 2):  # 2 goes for 3, as 1 was asked for since
        assert held.get((number,), make(number)) == number
    assert made == [1, 2, 3, 2]


def test_a_table_that_changes_in_its_place_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "n.parquet"
    for values in ([1.0, 2.0], [3.0, 4.0, 5.0]):
        pq.write_table(pa.table({"n": values}), path)
        assert Table(path).numbers("n").tolist() == values
    assert KEPT is tables.KEPT


def test_a_bar_that_dwarfs_all_others_is_cut_so_that_these_can_be_seen() -> None:
    assert pictures.height_of([3, 100, 80]) == 100
    assert pictures.height_of([29_000, 2_400, 1_600]) == 3_000
    assert pictures.height_of([7]) == 7 and pictures.height_of([0, 9]) == 9 and pictures.height_of([0]) == 1
    bins = [signals.Bin(n, n + 1, kept, 0) for n, kept in enumerate([29_000, 2_400, 1_600])]
    drawn = str(pictures.histogram(signals.Spread("tokens", bins, False, 33_000, 0, [], []), title="t", y_label="y", kept="kept", dropped="dropped"))
    assert drawn.count('class="cut"') == 1 and ">29,000</text>" in drawn


def test_what_stands_around_a_hit_begins_with_a_whole_word() -> None:
    assert search._from_a_word("oup items together") == "items together"
    assert search._from_a_word("内核模块的加载与卸载由用户空间的程序完成之后再 继续") == "内核模块的加载与卸载由用户空间的程序完成之后再 继续"
