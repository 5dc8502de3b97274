"""Readers: every format gives its texts, every damage is named, and where files are cut changes nothing."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import pickle
import stat
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.reading import again, converters, cutting, inputs, records

NASTY = ["", " ", "\ufeffmark", "a\r\nb", "nul\0inside", "line\u2028end", "e\u0301", "😀", "\u00a0", "\n\n\n", "x" * 5_000, '"\\', "中文。"]


def read(folder: Path | str, *more: str) -> tuple[list[dict[str, Any]], list[cutting.Problem]]:
    rows, problems = [], []
    for batch in cutting.LocalFiles(inputs.find([str(folder), *more])).batches():
        table, found = records.read(batch.parts)
        rows += table.to_pylist()
        problems += [*batch.problems, *found]
    return rows, problems


def jsonl(*values: Any, end: bytes = b"\n") -> bytes:
    return end.join(json.dumps(value, ensure_ascii=False).encode() for value in values) + end


PACKERS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".zst": lambda data: pa.Codec("zstd").compress(data).to_pybytes(),
}


@pytest.mark.parametrize("ending", PACKERS)
def test_lines_of_json_are_read_from_every_packing(tmp_path: Path, ending: str) -> None:
    first = {"text": "one", "url": "https://harbour.example/1", "license": "MIT", "date": "2026-01-02", "meta": {"a": [1]}}
    data = b"\xef\xbb\xbf" + jsonl(first, {"content": "two", "id": "b", "source": "lantern"}, {"text": "three", "id": 7}, end=b"\r\n")
    (tmp_path / f"shard.jsonl{ending}").write_bytes(PACKERS[ending](data))
    rows, problems = read(tmp_path / f"shard.jsonl{ending}")
    assert problems == []
    assert [(row["source"], row["uri"], row["text"]) for row in rows] == [
        ("shard", "https://harbour.example/1", "one"),
        ("lantern", f"shard.jsonl{ending}#b", "two"),
        ("shard", f"shard.jsonl{ending}#3", "three"),
    ]
    assert (rows[0]["licence"], rows[0]["retrieved_at"]) == ("MIT", "2026-01-02")


def test_a_broken_record_is_named_and_its_neighbours_are_read(tmp_path: Path) -> None:
    lines = [
        b'{"text": "good"}',
        b"{bad",
        b'{"text": "\\ud800"}',
        b'{"text": "caf\xe9"}',
        b"[1]",
        b'{"text": 3}',
        b'{"body": "x"}',
        b"",
        b'{"text": ""}',
        b'{"text": "last"}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    rows, problems = read(tmp_path / "a.jsonl")
    assert [row["text"] for row in rows] == ["good", "last"]
    assert [one.uri for one in problems] == [f"a.jsonl#{number}" for number in (2, 3, 4, 5, 6, 7, 9)]
    assert [one.skipped for one in problems] == [False] * 6 + [True]
    assert not any(one.lost for one in problems)


def test_a_record_as_python_writes_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(jsonl({"text": "one", "score": float("nan")}, {"text": "two", "loss": float("-inf")}))
    rows, problems = read(tmp_path)
    assert ([row["text"] for row in rows], problems) == (["one", "two"], [])


@pytest.mark.parametrize(
    ("ending", "harm"),
    [(".gz", "cut"), (".bz2", "cut"), (".xz", "cut"), (".zst", "cut"), (".gz", "over"), (".bz2", "over"), (".xz", "over")],
)
def test_a_damaged_shard_is_named_and_what_came_before_is_kept(tmp_path: Path, ending: str, harm: str) -> None:
    values = [{"text": hashlib.sha256(b"%d" % number).hexdigest()} for number in range(6_000)]
    packed = bytearray(PACKERS[ending](jsonl(*values)))
    at = len(packed) * 3 // 4
    if harm == "cut":
        del packed[at:]
    else:
        packed[at : at + 4096] = b"\x55" * 4096
    (tmp_path / f"a.jsonl{ending}").write_bytes(packed)
    rows, problems = read(tmp_path)
    assert [one.uri for one in problems if one.lost] == [f"a.jsonl{ending}"]
    good = [row["text"] for row in rows]
    before = 0 if ending == ".bz2" else 1_000  # bzip2 has only whole blocks of 900 kB
    assert good[:before] == [value["text"] for value in values[:before]]


def test_a_line_too_long_is_named_and_the_next_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "MAX_RECORD", 1 << 20)
    (tmp_path / "a.jsonl").write_bytes(jsonl({"text": "a"}, {"text": "x" * (3 << 20)}, {"text": "b"}, {"text": "y" * (2 << 20)}))
    rows, problems = read(tmp_path)
    assert [(row["uri"], row["text"]) for row in rows] == [("a.jsonl#1", "a"), ("a.jsonl#3", "b")]
    assert [(one.uri, "more than" in one.problem) for one in problems] == [("a.jsonl#2", True), ("a.jsonl#4", True)]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=40)), max_size=12),
    st.integers(1, 400),
)
def test_texts_come_out_as_they_went_in_wherever_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "a.jsonl"
    path.write_bytes(jsonl(*({"text": text} for text in texts)) if texts else b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PART_BYTES", size)
        patch.setattr(cutting, "_READ", max(1, size // 3))
        rows, problems = read(path)
    assert [row["text"] for row in rows] == [text for text in texts if text]
    assert len(problems) == texts.count("")
    assert len({row["uri"] for row in rows}) == len(rows)


def test_a_part_of_a_plain_file_is_sent_without_its_bytes_and_read_where_it_arrives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PART_BYTES", 1_000_000)
    monkeypatch.setattr(cutting, "MAX_RECORD", 2_000_000)
    long = [{"text": "a"}, {"text": "x" * 5_000_000}]
    (tmp_path / "a.jsonl").write_bytes(jsonl(*long, *({"text": f"tide {number} " * 9_000} for number in range(40))))
    sent = list(cutting.LocalFiles(inputs.find([str(tmp_path / "a.jsonl")])).batches())
    assert len(sent) > 2
    for one in sent:
        packed = pickle.dumps(one)
        assert len(packed) < 1_000
        assert pickle.loads(packed) == one


def test_towards_the_end_parts_are_small_so_that_workers_end_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = jsonl(*({"text": f"tide {number} " * 4_000} for number in range(220)))
    (tmp_path / "a.jsonl").write_bytes(whole)
    for number in range(200):
        (tmp_path / f"b{number:03}.txt").write_text("high water " * 5_000)
    monkeypatch.setattr(cutting, "PART_BYTES", 2 << 20)
    for name in ("a.jsonl", "."):
        batches = list(cutting.LocalFiles(inputs.find([str(tmp_path / name)])).batches())
        sizes = [sum(len(part.data) for part in one.parts) for one in batches]
        assert max(sizes) > 7 << 18 and max(sizes[-4:]) < 3 << 18
    assert b"".join(part.data for one in batches for part in one.parts if part.kind == "jsonl") == whole


def test_parquet_is_read_row_group_by_row_group(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", None, "three", "four"], "url": ["https://a/1", "https://a/2", None, None], "other": [1, 2, 3, 4]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    rows, problems = read(tmp_path)
    assert [(row["uri"], row["text"]) for row in rows] == [("https://a/1", "one"), ("a.parquet#3", "three"), ("a.parquet#4", "four")]
    assert [(one.uri, one.problem) for one in problems] == [("a.parquet#2", "has no field text, content, raw_content")]


def test_a_damaged_row_group_and_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    sound = pa.array([b"good", b"caf\xe9", b"fine"], pa.binary())
    raw = pa.Array.from_buffers(pa.string(), 3, sound.buffers())
    pq.write_table(pa.table({"text": raw}), tmp_path / "bytes.parquet")
    big = pa.table({"text": [f"{number:08}" * 40 for number in range(4_000)]})
    pq.write_table(big, tmp_path / "harmed.parquet", row_group_size=2_000, compression="zstd", use_dictionary=False)
    data = bytearray((tmp_path / "harmed.parquet").read_bytes())
    data[60:2_000] = b"\x77" * 1_940
    (tmp_path / "harmed.parquet").write_bytes(data)
    (tmp_path / "none.parquet").write_bytes(b"PAR1 no")
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows][:2] == ["good", "fine"]
    assert [row["text"] for row in rows][2:] == big.column("text").to_pylist()[2_000:]
    assert sorted((one.uri, one.lost) for one in problems) == [
        ("bytes.parquet#2", False),
        ("harmed.parquet#1-2000", True),
        ("none.parquet", True),
    ]


@pytest.mark.parametrize("column", ["source", "url", "licence", "date"])
def test_bytes_that_are_no_text_beside_a_text_do_no_harm_to_it(tmp_path: Path, column: str) -> None:
    raw = pa.Array.from_buffers(pa.string(), 2, pa.array([b"caf\xe9", b"caf"], pa.binary()).buffers())
    pq.write_table(pa.table({"text": ["one", "two"], column: raw}), tmp_path / "a.parquet")
    rows, problems = read(tmp_path)
    assert ([row["text"] for row in rows], problems) == (["one", "two"], [])


def test_parquet_is_read_in_whatever_type_its_texts_are(tmp_path: Path) -> None:
    texts = ["one", None, "drei…"]
    for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()):
        pq.write_table(pa.table({"text": pa.array(texts, kind)}), tmp_path / f"{kind}.parquet")
    pq.write_table(pa.table({"text": pa.array(texts).dictionary_encode()}), tmp_path / "dictionary.parquet")
    pq.write_table(pa.table([pa.array(["other"] * 3), pa.array(texts)], ["text", "text"]), tmp_path / "twice.parquet")
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["one", "drei…"] * 7
    assert {one.problem for one in problems} == {"has no field text, content, raw_content"} and len(problems) == 7


def record(kind: str, body: bytes, media: str = "", uri: str = "https://lantern.example/") -> bytes:
    head = f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {uri}\r\nWARC-Date: 2026-02-03T04:05:06Z\r\nContent-Type: {media}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


def answer(body: bytes, *fields: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *fields]).encode() + b"\r\n\r\n" + body


HTTP = "application/http; msgtype=response"
PAGE = "<html><body><nav>menu</nav><p>The lighthouse keeper’s café.</p></body></html>"


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_warc_gives_its_pages_and_says_what_is_none(tmp_path: Path, ending: str) -> None:
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (PAGE.encode()[:40], PAGE.encode()[40:])) + b"0\r\n\r\n"
    bodies = [
        record("warcinfo", b"software: lantern"),
        record("response", answer(PAGE.encode(), "Content-Type: text/html"), HTTP, "https://a/plain"),
        record("response", answer(chunks, "Content-Type: text/html", "Transfer-Encoding: chunked"), HTTP, "https://a/chunked"),
        record(
            "response", answer(gzip.compress(PAGE.encode()), "Content-Type: text/html", "Content-Encoding: gzip"), HTTP, "https://a/gzip"
        ),
        record("response", answer(PAGE.encode("gb18030"), "Content-Type: text/html; charset=gb18030"), HTTP, "https://a/chinese"),
        record("response", answer(PAGE.encode("cp1252"), "Content-Type: text/html; charset=windows-1252"), HTTP, "https://a/western"),
        record("response", answer(b"moved", "Location: /", status="301 Moved"), HTTP, "https://a/moved"),
        record("response", answer(b"\x89PNG", "Content-Type: image/png"), HTTP, "https://a/picture"),
        record(
            "response",
            answer(gzip.compress(PAGE.encode())[:-9], "Content-Type: text/html", "Content-Encoding: gzip"),
            HTTP,
            "https://a/short",
        ),
        record("response", answer(b"caf\xe9", "Content-Type: text/html"), HTTP, "https://a/unknown"),
        record("response", answer(b"caf\xe9", "Content-Type: text/html; charset=undefined"), HTTP, "https://a/undefined"),
        record("request", b"GET / HTTP/1.1\r\n\r\n", "application/http; msgtype=request"),
        record("conversion", "只是文字。".encode(), "text/plain", "https://a/wet"),
    ]
    (tmp_path / f"crawl.warc{ending}").write_bytes(b"".join(gzip.compress(one) if ending else one for one in bodies))
    rows, problems = read(tmp_path)
    page = "The lighthouse keeper’s café."
    assert [(row["uri"], row["text"]) for row in rows] == [
        *((f"https://a/{name}", page) for name in ("plain", "chunked", "gzip", "chinese", "western")),
        ("https://a/wet", "只是文字。"),
    ]
    assert rows[0]["retrieved_at"] == "2026-02-03T04:05:06Z"
    name = f"crawl.warc{ending}"
    assert [(one.uri, one.skipped) for one in problems] == [
        (f"{name}#7", True),
        (f"{name}#8", True),
        (f"{name}#9", False),
        (f"{name}#10", False),
        (f"{name}#11", False),
    ]


def test_a_page_in_several_members_of_gzip_is_whole_and_the_type_of_a_page_may_be_in_capitals(tmp_path: Path) -> None:
    packed = gzip.compress(PAGE.encode()[:30]) + gzip.compress(PAGE.encode()[30:])
    body = answer(packed, "Content-Type: text/html", "Content-Encoding: gzip")
    (tmp_path / "a.warc").write_bytes(record("response", body, HTTP) + record("resource", PAGE.encode(), "Text/HTML; Charset=UTF-8"))
    rows, problems = read(tmp_path)
    assert ([row["text"] for row in rows], problems) == (["The lighthouse keeper’s café."] * 2, [])


def test_records_before_a_damaged_one_are_kept(tmp_path: Path) -> None:
    whole = [record("conversion", text, "text/plain") for text in (b"first", b"second", b"third")]
    (tmp_path / "a.warc").write_bytes(b"".join((whole[0], whole[1].replace(b"Length: 6", b"Length: 2"), whole[2])))
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["first", "se"]
    assert [one.lost for one in problems] == [True]


def test_a_warc_that_ends_too_soon_or_is_none_is_named(tmp_path: Path) -> None:
    whole = record("conversion", b"first", "text/plain") + record("conversion", b"second", "text/plain")
    (tmp_path / "cut.warc").write_bytes(whole[:-8])
    (tmp_path / "none.warc").write_bytes(b"this is no WARC file\n")
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["first"]
    assert [(one.uri, one.lost) for one in problems] == [("cut.warc#2", True), ("none.warc", True)]


def book(*chapters: str, spine: str = "") -> bytes:
    items = "".join(
        f'<item id="c{number}" href="text/{number}.xhtml" media-type="application/xhtml+xml"/>' for number in range(len(chapters))
    )
    order = spine or "".join(f'<itemref idref="c{number}"/>' for number in reversed(range(len(chapters))))
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as file:
        file.writestr("META-INF/container.xml", '<container><rootfiles><rootfile full-path="OEBPS/p.opf"/></rootfiles></container>')
        file.writestr("OEBPS/p.opf", f'<?xml version="1.0"?><package><manifest>{items}</manifest><spine>{order}</spine></package>')
        for number, chapter in enumerate(chapters):
            file.writestr(f"OEBPS/text/{number}.xhtml", f"<html><body><h1>{number}</h1><p>{chapter}</p></body></html>")
    return sink.getvalue()


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    (tmp_path / "tides.epub").write_bytes(book("Ebb.", "Flow."))
    (tmp_path / "torn.epub").write_bytes(book("Ebb.")[:-40])
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["1\n\nFlow.\n\n0\n\nEbb."]
    assert [(one.uri, one.lost) for one in problems] == [("torn.epub", True)]


def test_a_book_in_another_encoding_is_read_by_what_it_declares(tmp_path: Path) -> None:
    page = '<?xml version="1.0" encoding="windows-1252"?><html><body><p>café</p></body></html>'.encode("cp1252")
    for name, chapter in (("declared", page), ("silent", page.replace(b"encoding", b"language"))):
        sink = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(book("Ebb."))) as made, zipfile.ZipFile(sink, "w") as file:
            for one in made.namelist():
                file.writestr(one, chapter if one.endswith(".xhtml") else made.read(one))
        (tmp_path / f"{name}.epub").write_bytes(sink.getvalue())
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["café"]
    assert [(one.uri, one.lost) for one in problems] == [("silent.epub", True)]


def test_files_of_a_folder_are_read_by_their_kind(tmp_path: Path) -> None:
    (tmp_path / "deep" / "man1").mkdir(parents=True)
    files = {
        "a.html": b"<html><body><p>Page.</p></body></html>", "b.rst": b"Title\n=====\n\nA :ref:`link <x>`.\n", "c.md": b"# Head\r\n\r\nBody.\r\n",
        "d.txt": b"\xef\xbb\xbfPlain \r\ntext", "e.txt.gz": gzip.compress(b"Packed"), "f.txt": b"caf\xe9", "deep/man1/tide.1": b".TH TIDE 1\n.SH NAME\ntide \\- come and go\n",
        "g.png": b"\x89PNG", "h.txt": b"nul\0", ".hidden.txt": b"no", "i.txt": b"  \n",
    }  # fmt: skip
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    rows, problems = read(tmp_path)
    texts = {row["uri"]: row["text"] for row in rows}
    assert {name: texts[name] for name in ("a.html", "c.md", "d.txt", "e.txt.gz")} == {
        "a.html": "Page.", "c.md": "# Head\n\nBody.", "d.txt": "Plain\ntext", "e.txt.gz": "Packed"
    }  # fmt: skip
    assert "A link." in texts["b.rst"]
    assert "come and go" in texts["deep/man1/tide.1"]
    assert {one.uri: (one.lost, one.skipped) for one in problems} == {
        "f.txt": (True, False),
        "g.png": (False, True),
        "h.txt": (True, False),
        "i.txt": (False, True),
    }


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_texts_are_read_whole_and_named_where_they_are_cut_short(tmp_path: Path, ending: str) -> None:
    page = "".join(f"The tide of {hashlib.sha256(b'%d' % number).hexdigest()} comes in.\n" for number in range(400))
    html = f"<html><body><p>{page}</p></body></html>".encode()
    packed = PACKERS[ending](html)
    (tmp_path / f"whole.html{ending}").write_bytes(packed)
    (tmp_path / f"UPPER.HTML{ending.upper()}").write_bytes(packed)
    if ending:
        (tmp_path / f"cut.html{ending}").write_bytes(packed[: len(packed) * 3 // 4])
        (tmp_path / f"twice.txt{ending}").write_bytes(PACKERS[ending](page.encode()) + PACKERS[ending](b"And goes out."))
    rows, problems = read(tmp_path)
    texts = {row["uri"]: (row["format"], row["text"]) for row in rows}
    assert texts[f"whole.html{ending}"][0] == "html" and texts[f"whole.html{ending}"] == texts[f"UPPER.HTML{ending.upper()}"]
    assert texts[f"whole.html{ending}"][1].count("comes in") == 400
    if ending:
        assert texts[f"twice.txt{ending}"] == ("plain", page + "And goes out.")
    assert [(one.uri, one.lost) for one in problems] == [(f"cut.html{ending}", True)] * bool(ending)


def test_a_packed_file_of_no_bytes_is_damaged(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.txt.zst", "c.warc.gz"):
        (tmp_path / name).write_bytes(b"")
    assert [(one.uri, one.lost) for one in read(tmp_path)[1]] == [("a.jsonl.gz", True), ("b.txt.zst", True), ("c.warc.gz", True)]


def test_lines_in_a_file_whose_ending_is_in_capitals_are_unpacked_too(tmp_path: Path) -> None:
    (tmp_path / "SHARD.JSONL.GZ").write_bytes(gzip.compress(jsonl({"text": "one"})))
    rows, problems = read(tmp_path)
    assert ([(row["text"], row["transforms"]) for row in rows], problems) == ([("one", "gunzip>jsonl")], [])


def test_what_a_link_leads_to_is_read_once_and_a_link_that_is_not_followed_is_named(tmp_path: Path) -> None:
    blobs, given = tmp_path / "blobs", tmp_path / "given"
    blobs.mkdir(), given.mkdir()
    (blobs / "3f2a").write_bytes(jsonl({"text": "from the store"}))
    (given / "own.txt").write_text("own")
    for name, target in (("shard.jsonl", blobs / "3f2a"), ("again.txt", given / "own.txt"), ("gone.txt", "nowhere"), ("round", given)):
        (given / name).symlink_to(target)
    rows, problems = read(given)
    assert [(row["uri"], row["text"]) for row in rows] == [("own.txt", "own"), ("shard.jsonl#1", "from the store")]
    assert [(one.uri, one.lost) for one in problems] == [("gone.txt", True), ("round", False)]


def test_a_file_whose_name_is_no_utf_8_is_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"tide\xff.txt")
    (tmp_path / name).write_text("comes in")
    for where in (tmp_path, tmp_path / name):
        (row,), problems = read(where)
        assert (row["uri"], row["text"], problems) == ("tide\ufffd.txt", "comes in", [])
        row["source"].encode()
        "".join(again.absolute([str(where)])).encode()


def test_a_pipe_is_named_and_refused_as_an_input(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    os.mkfifo(tmp_path / "b.jsonl")
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["one"]
    assert [(one.uri, one.skipped) for one in problems] == [("b.jsonl", True)]
    with pytest.raises(inputs.NoFile):
        inputs.find([str(tmp_path / "b.jsonl")])


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "locked" / "b.txt").write_text("lost")
    (tmp_path / "a.txt").write_text("kept")
    real = os.scandir

    def scandir(path: Any) -> Any:  # as for anybody but root, who may read all
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    rows, problems = read(tmp_path)
    assert [row["text"] for row in rows] == ["kept"]
    assert [(one.uri, one.problem, one.lost) for one in problems] == [("locked", "is a folder that may not be read", True)]


def test_a_result_in_the_folder_of_its_inputs_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "report.json").write_text("{}")
    (tmp_path / "out" / "b.txt").write_text("ours")
    assert [one.uri for one in inputs.find([str(tmp_path)], tmp_path / "out")] == ["a.txt"]


def test_a_pdf_needs_a_converter_and_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given, bin_ = tmp_path / "given", tmp_path / "bin"
    given.mkdir(), bin_.mkdir()
    (given / "a.pdf").write_bytes(b"%PDF-1.7")
    (given / "b.txt").write_text("plain")
    monkeypatch.setenv("PATH", str(bin_))
    converters._converter.cache_clear()
    _, problems = read(given)
    assert [(one.uri, "pip install mineru" in one.problem, one.skipped) for one in problems] == [("a.pdf", True, True)]
    tool = bin_ / "mineru"
    tool.write_text(
        '#!/bin/sh\n[ "$1" = -p ] && /bin/mkdir -p "$4/document/auto" && echo "# Harbour plan" > "$4/document/auto/document.md"\n'
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    converters._converter.cache_clear()
    rows, problems = read(given)
    assert {row["uri"]: row["text"] for row in rows} == {"a.pdf": "# Harbour plan", "b.txt": "plain"}
    tool.write_text("#!/bin/sh\necho no luck >&2\nexit 3\n")
    _, problems = read(given)
    assert [(one.uri, "no luck" in one.problem, one.lost) for one in problems] == [("a.pdf", True, True)]
    converters._converter.cache_clear()


def test_inputs_that_cannot_be_read_are_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_bytes(jsonl({"text": name}))
    with pytest.raises(inputs.NoInput, match="a dot is the folder"):
        inputs.find([""])
    with pytest.raises(inputs.NoSuchInput, match="no file or folder"):
        inputs.find([str(tmp_path / "none")])
    with pytest.raises(inputs.NothingToRead, match=r"\.jsonl"):
        inputs.find([str(tmp_path / "empty")])
    with pytest.raises(inputs.SameName, match="Give them names"):
        inputs.find([str(tmp_path / "a" / "x.jsonl"), str(tmp_path / "b" / "x.jsonl")])
    named = [f"north={tmp_path / 'a' / 'x.jsonl'}", f"south={tmp_path / 'b'}"]
    assert [(file.source, file.uri) for file in inputs.find(named)] == [("north", "x.jsonl"), ("south", "x.jsonl")]
    assert inputs.find(named) == inputs.find(list(reversed(named)))
    assert len(inputs.find([str(tmp_path / "a"), str(tmp_path / "a")])) == 1
