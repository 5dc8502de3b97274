"""A folder of texts on its way into the house: what its one source is called, and what says its licence."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from lilong.client.corpus import declaration
from lilong.floors.corpus.backends.folder import FolderOfTexts
from lilong.ground.errors import BadInput

STATEMENT = "Written by our own staff, \\ \"in the harbour\",\nand given\x7f freely."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "harbour pages (2026)"
    (made / "inner").mkdir(parents=True)
    (made / "inner/page.txt").write_text("Ships come and go.")
    return made


def packed(folder: Path, declared: bytes, out: Path):  # type: ignore[no-untyped-def]
    (folder / "licences.toml").write_bytes(declared)
    return FolderOfTexts(folder).fetch(out, out, lambda *_: None).sources


def test_a_folder_becomes_a_source_of_its_name_under_the_licence_that_is_stated(folder: Path, tmp_path: Path) -> None:
    (found,) = packed(folder, declaration(folder, licence="cc-by-4.0", statement=STATEMENT), tmp_path / "out")
    assert (found.name, found.licence) == ("harbour-pages-2026", "CC-BY-4.0")
    assert (tmp_path / "out" / found.evidence).read_text() == STATEMENT


def test_the_licence_beside_the_texts_is_taken_where_nothing_else_is_said(folder: Path, tmp_path: Path) -> None:
    (folder / "LICENSE").write_text("SPDX-License-Identifier: MIT\n")
    (found,) = packed(folder, declaration(folder, name="harbour"), tmp_path / "out")
    assert (found.name, found.licence) == ("harbour", "MIT")


def test_manual_pages_are_packed_with_the_texts(folder: Path, tmp_path: Path) -> None:
    (folder / "man1").mkdir()
    (folder / "man1" / "tide.1").write_text(".TH TIDE 1\n.SH NAME\ntide \\- come and go\n")
    (source,) = packed(folder, declaration(folder, licence="MIT", statement="Ours."), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / source.archive) as archive:
        assert "man1/tide.1" in archive.getnames()


def test_a_folder_that_says_what_its_sources_are_is_left_to_it(folder: Path) -> None:
    (folder / "licences.toml").write_text('[sources.inner]\npath = "inner"\nlicence = "MIT"\nstatement = "Ours."\n')
    assert declaration(folder) == b""
    with pytest.raises(BadInput, match=r"'licence' cannot be used: the folder's licences\.toml says"):
        declaration(folder, licence="MIT")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({}, "'licence' cannot be used: nothing says under which licence the texts are"),
        ({"licence": "MIT"}, "--evidence FILE or --statement TEXT"),
        ({"licence": "my own", "statement": "Ours."}, "'my own' is not an SPDX expression"),
        ({"name": "../up", "statement": "Ours."}, "'../up' is no name of a source"),
        ({"name": "x" * 81, "statement": "Ours."}, "is no name of a source"),
    ],
)
def test_what_says_too_little_or_nonsense_is_refused_before_anything_is_sent(folder: Path, said: dict[str, str], problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        declaration(folder, **said)
