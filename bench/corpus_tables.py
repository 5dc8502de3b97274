"""The two tables of docs/measured.md, section Corpus, from what the benches left in their JSON. Of a bench that was not run there are no rows."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]
Rows = list[tuple[str, str, str]]  # what, asked for, found


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(ours: float, peer: float) -> str:
    return f"{number(ours)}, theirs {number(peer)}: {number(ours / peer)} ×"


def speeds(found: dict[str, Any], missing: dict[str, str]) -> Rows:
    """`missing`: peers that do not install, and why."""
    shapes = (
        ("corpus_fineweb", _chain), ("corpus_words", _words), ("corpus_dedup", _dedup), ("corpus_others", _others),
        ("corpus_safety", _safety), ("corpus_runs", _runs),
    )  # fmt: skip
    rows = [row for name, rows_of in shapes if found.get(name) for row in rows_of(found[name])]
    return rows + [(name, "", f"does not install: {why}") for name, why in missing.items()]


def agreements(found: dict[str, Any]) -> Rows:
    rows = []
    for one in found.get("corpus_agreement") or ():
        what = f"{one['name']}: {one['documents']:,} documents, {one['bytes'] / 1e6:.1f} MB: step, reason and output text"
        share = 100 * one["same"].get("chain", 0) / max(1, one["documents"])
        rows.append((what, "≥ 99.9 %", f"{share:.6g} % of the chain; {one['different']} differ in any filter or in the text that is left"))
    for one in (found.get("corpus_words") or {}).get("agreement", ()):
        rows.append((f"words of {one['what']}: {one['texts']:,} texts, {one['words']:,} words", "the same", f"{one['differ']} texts differ"))
    if same := (found.get("corpus_dedup") or {}).get("agreement"):
        what = f"signatures of {same['documents']:,} documents, {same['megabytes']} MB"
        equal = "equal" if same["clusters_equal"] else "NOT equal"
        clusters = f"{same['clusters']} and {same['clusters_of_datatrove']}, {equal}; kept {same['kept']:,} and {same['kept_by_datatrove']:,}"
        rows += [
            (what, "bit-identical on ≥ 5,000", f"{same['signatures_that_differ']} differ"),
            ("their clusters, stages 1 to 4", "the same", clusters),
        ]
    if whole := found.get("corpus_whole"):
        what = f"the whole of FineWeb, filters and then MinHash over what C4 leaves, {whole['documents']:,} English documents, {whole['megabytes']} MB"
        passed = f"{whole['passed']:,} pass the filters ({whole['passed_differently']} differently)"
        equal = "the same" if whole["clusters_equal"] else f"NOT the same as datatrove's {whole['clusters_of_datatrove']}"
        kept = f"kept {whole['kept']:,} and {whole['kept_by_datatrove']:,}, {whole['texts_that_differ']} texts differ"
        rows.append((what, "", f"{passed}; {whole['clusters']} clusters of {whole['in_clusters']:,} documents, {equal}; {kept}"))
    return rows


def curve(found: dict[str, Any]) -> str:
    """Recall of planted pairs, in words."""
    grades = (found.get("corpus_dedup") or {}).get("s_curve") or ()
    return "; ".join(f"{one['recall']:.2f} at {one['jaccard']:.2f} (expected {one['expected']:.2f})" for one in grades)


def table(head: tuple[str, str, str], rows: Rows) -> str:
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in (head, ("---",) * 3, *rows))


def _chain(chain: Json) -> Rows:
    ours, every, early = (chain["rates"][name] for name in ("lilong", "datatrove, every filter", "datatrove, chain"))
    rows = [
        ("`fineweb`, every filter on every document, warm vocabulary; datatrove's too", "≥ 20 ×, stretch 50", times(ours, every)),
        ("the same; datatrove ends at the first filter that drops", "", times(ours, early)),
    ]
    for name, cold in chain["cold"].items():
        rate = cold["chain"]
        ratios = f"{number(rate)}: {number(rate / every)} × ({number(rate / early)} × where datatrove ends early)"
        rows.append((f"cold, {cold['megabytes']:.0f} MB from {name}; every filter", "≥ 8 ×, stretch 20", ratios))
    for name, rates in chain["defeating"].items():
        better = max(rate for one, rate in rates.items() if one != "lilong")
        rows.append((f"{name}, nothing remembered; the better of datatrove's two figures", "≥ 0.5 ×", times(rates["lilong"], better)))
    return rows


def _words(words: Json) -> Rows:
    peer = words["rates"].get("datatrove")
    rows = [(f"words alone, {name}", "", times(rate, peer)) for name, rate in words["rates"].items() if name != "datatrove"]
    million = words["million"]
    held = f"{million['memory']:.0f} MB in memory, {million['disk']:.0f} MB on disk, opened in {million['opened']:.2f} CPU-s"
    return [*rows, ("a vocabulary of 1,048,576 chunks", "< 1.5 GB", held)]


def _dedup(dedup: Json) -> Rows:
    rates = dedup["speed"]["megabytes_per_cpu_second"]
    keys, signatures = rates["lilong, to band keys"], rates["lilong, to signatures"]
    rows = []
    if peer := rates.get("datatrove"):
        rows.append(("MinHash, 14 × 8 on word 5-grams, to band keys", "≥ 60 ×", times(keys, peer)))
    if peer := rates.get("daft"):
        rows.append(("the same, to signatures; Daft", "≥ 0.67 ×", f"{times(signatures, peer)}; to band keys {number(keys / peer)} ×"))
    rows += [(f"beside it, {name}", "", number(rates[name])) for name in ("rensa", "datasketch") if name in rates]
    if made := dedup.get("clustering"):
        found = f"{made['documents_per_cpu_second']:,} a CPU-second, {made['bytes_per_document']} B a document"
        rows.append((f"clustering {made['rows']:,} documents of 14 bands", "≥ 200,000 a second, ≤ 64 B", found))
    return rows


def _others(others: Json) -> Rows:
    return [
        (
            f"as it is run from a shell: {one['what']}",
            "",
            f"fails: {one['problem']}" if "problem" in one else f"{number(one['rate'])}; {one['start']:.1f} CPU-s to start",
        )
        for one in others["rows"]
    ]


def _safety(safety: Json) -> Rows:
    personal, tongues, asked = safety["personal"]["rates"], safety["languages"], safety["membership"]["1000 characters"]
    speed, profiles = tongues["rates"], safety["profiles"]
    rows = [("language, whole texts", "≥ 10", "; ".join(f"{name} {number(rate)}" for name, rate in speed.items()))]
    if same := tongues.get("same as fastText on the whole text"):
        own = f"fastText's own on 1,000 characters: {100 * same['fastText, first 1,000 characters']:.2f} %"
        rows.append(("the same label as fastText's on the whole text", "≥ 98.5 %", f"{100 * same['ours']:.2f} % ({own})"))
    mine = [number(personal[name]) for name in ("ours, the same without @ and long numbers", "ours, 7 kinds confirmed")]
    peers = "".join(f"; {name} {number(rate)}" for name, rate in personal.items() if not name.startswith("ours"))
    return [
        *rows,
        ("personal data, seven kinds confirmed: clean text; text as it is", "≥ 100", "; ".join(mine) + peers),
        ("profiles `gopher-zh`, `code`, `docs`", "≥ 10", ", ".join(number(profiles[name]) for name in ("gopher-zh", "code", "docs"))),
        ("membership of 1,000 characters: median, p99", "< 5 ms", f"{asked['median CPU ms']}, {asked['p99 CPU ms']} CPU-ms"),
    ]


def _runs(runs: Json) -> Rows:
    rows = [
        (f"start-up, one small file, caches warm: `{name}`", "< 1 s", f"{one['least_wall']} s by the wall, {one['cpu']} CPU-s")
        for name, one in runs["start_up"].items()
    ]
    for name, one in runs["workers"].items():
        what, same = f"`{name}`, {one['megabytes']:.0f} MB", "the same" if one["same"] else "DIFFERENT"
        most = max(max(run["memory"], run["worker_memory"]) for run in one["runs"]["1"])
        rows += [
            (f"whole run, one worker, {what}; peak memory", "< 1.5 GB", f"{one['MB a CPU-second']}; {most:.0f} MiB"),
            (f"two workers against one, {what}: by the wall; by CPU", "≥ 1.8 ×", f"{one['by wall']}; {one['by CPU']} ×; tables {same}"),
        ]
    policy, copies = runs["policy"], runs["copies"]
    pages = f"{copies['pages whose copies are all found']:,} of {copies['pages that ship both ways']:,} ({copies['copies']:,} copies)"
    rows.append(("another policy over 400,000 documents, read and decided", "< 2 s", f"{policy['cpu']} CPU-s, {policy['rules']} rules"))
    if copies["pages that ship both ways"]:
        rows.append(("linux-doc's pages that ship as .rst.gz and as Sphinx .txt and are equal", "all found", pages))
    for one in runs["memory"]:
        what = f"peak memory, `fineweb`, {one['gigabytes']} GB, {one['documents']:,} documents: a worker; the process that leads"
        rows.append((what, "< 1.5 GB, flat", f"{one['worker_memory']:.0f}; {one['memory']:.0f} MiB"))
    return rows
