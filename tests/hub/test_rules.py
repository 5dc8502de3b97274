"""Names, files and cards: what the hub decides without looking anywhere."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git.attributes import DEFAULT, parse
from lilong.floors.hub.rules import card, files, names
from lilong.ground import intake
from lilong.ground.intake import UnsafeFile


@pytest.mark.parametrize("name", ["main", "v1.0", "feature/one_two", "a+b", "x" * 200])
def test_plain_names_of_refs_are_taken(name: str) -> None:
    assert names.check(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "refs/pr/5",
        "refs/foo/bar",
        "a..b",
        "/a",
        "a/",
        "a//b",
        ".a",
        "a.lock",
        "-a",
        "a b",
        "a~1",
        "HEAD^",
        "a:b",
        "0" * 40,
        "x" * 201,
        "a\n",
    ],
)
def test_names_that_git_or_a_reader_would_misread_are_not(name: str) -> None:
    with pytest.raises(names.BadRef) as refused:
        names.check(name)
    assert refused.value.status == 400


def test_size_or_name_makes_a_file_large_but_never_an_empty_one() -> None:
    rules = parse(DEFAULT)
    assert files.large("a.json", 1 << 20, rules)
    assert files.large("a.safetensors", 1, rules)
    assert not files.large("a.json", (1 << 20) - 1, rules)
    assert not files.large("a.safetensors", 0, rules)


@given(st.text(min_size=1200, max_size=1400), st.integers(1000, 1100))
def test_text_is_taken_wherever_its_sample_ends(text: str, end: int) -> None:
    content = text.replace("\0", "").encode(errors="replace")
    if not content.startswith((b"PK\x03\x04", b"\x1f\x8b")):
        files.check_start(Kind.MODEL, "notes.txt", content[:end], len(content))


def test_a_truncated_character_at_the_very_end_is_not_text() -> None:
    with pytest.raises(UnsafeFile):
        files.check_start(Kind.MODEL, "notes.txt", "文".encode()[:2], 2)


def test_a_card_without_front_matter_is_all_text() -> None:
    assert card.parse("# Title\n---\nnot: matter\n---\n") == card.Card("# Title\n---\nnot: matter\n---\n", {})


def test_front_matter_becomes_plain_json() -> None:
    parsed = card.parse("---\r\nlicense: mit\r\nwhen: 2026-11-22\r\nscore: .inf\r\n1: [a, {b: ~}]\r\n---\r\nText\r\n")
    assert parsed == card.Card("Text\r\n", {"license": "mit", "when": "2026-11-22", "score": None, "1": ["a", {"b": None}]})
    json.dumps(parsed.metadata, allow_nan=False)


@pytest.mark.parametrize(
    ("matter", "said"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("[" * 5000, "nested"),
        ("a: [1", "expected"),
        ("- just\n- a list", "not a mapping"),
        ("a: !!python/object/apply:os.system [id]", "constructor"),
        ("a: " + "9" * 5000, "digits"),
        ("a: " + "x" * (257 << 10), "longer than"),
    ],
)
def test_front_matter_that_is_broken_or_hostile_is_refused_with_its_reason(matter: str, said: str) -> None:
    with pytest.raises(card.BadCard, match=said):
        card.parse(f"---\n{matter}\n---\n")
    assert card.read(f"---\n{matter}\n---\n").metadata == {}


def test_a_mistake_in_front_matter_is_named_by_its_line_in_the_file_and_kept_out_of_the_text() -> None:
    text = "---\ntags: [a]\nlicense: [mit\n---\n# Tide\n"
    found = card.read(text)
    assert (found.text, found.metadata) == ("# Tide\n", {})
    assert "line 4, column 1: " in found.problem
    assert "unicode string" not in found.problem
    assert card.read("# Tide\n").problem == ""


@given(st.text(max_size=200))
def test_no_front_matter_does_anything_but_parse_or_be_refused(text: str) -> None:
    json.dumps(card.read(f"---\n{text}\n---\n").metadata, allow_nan=False)


def test_tags_come_from_the_metadata() -> None:
    metadata = {
        "tags": ["tiny", 3],
        "license": ["mit", "apache-2.0"],
        "datasets": "a/b",
        "language": "zh",
        "base_model": "c/d",
        "library_name": "x",
    }
    common = ["x", "tiny", "license:mit", "license:apache-2.0", "base_model:c/d", "dataset:a/b"]
    assert card.tags(metadata, Kind.MODEL) == [*common, "zh"]
    assert card.tags(metadata, Kind.DATASET) == [*common, "language:zh"]


def weights(header: dict[str, object], pad_to: int = 0) -> tuple[io.BytesIO, int]:
    text = json.dumps(header).encode().ljust(pad_to)
    whole = len(text).to_bytes(8, "little") + text + bytes(4)
    return io.BytesIO(whole), len(whole)


@pytest.mark.parametrize("header_bytes", [640, 896, 1152, 1408, 65536 + 640])
def test_a_header_whose_length_reads_like_the_start_of_a_pickle_is_no_pickle(header_bytes: int) -> None:
    file, size = weights({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, header_bytes)
    assert file.getvalue()[:2] in {b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"}
    assert intake.check_model_file("model.safetensors", file, size) == "safetensors"


@pytest.mark.parametrize("offsets", [[0, 4, 5], [0], [0, None], [0, "4"], [0.5, 4], "04", {"0": 4}, 4, None])
def test_offsets_that_are_no_pair_of_whole_numbers_are_refused_as_malformed(offsets: object) -> None:
    with pytest.raises(UnsafeFile, match="malformed"):
        intake.check_model_file("model.safetensors", *weights({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}}))
