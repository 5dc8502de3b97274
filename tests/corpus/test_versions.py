"""The two job programs, run as jobs run them: texts in, a documented corpus version out, or one clear message."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from lilong.floors.corpus.backends.debian import unversioned
from lilong.floors.corpus.backends.source_set import ArchiveFiles, pack
from lilong.floors.corpus.contract import MissingPackage
from lilong.floors.corpus.curation import recipe
from lilong.floors.corpus.curation.signals import measure
from lilong.floors.corpus.work import main
from tests.corpus import texts

PACKAGES = ["python3-doc", "postgresql-doc", "manpages", "manpages-zh", "debian-reference-en", "debian-reference-zh-cn"]


@dataclass(frozen=True)
class Done:
    code: int
    message: str
    out: Path

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.out / "result.json").read_text())

    def table(self, path: str) -> list[dict[str, Any]]:
        return pq.read_table(self.out / path).to_pylist()


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a verb with inputs (name -> folder) and a spec."""
    numbers = iter(range(100))

    def run(verb: str, spec: dict[str, Any], **inputs: Path) -> Done:
        folder = tmp_path / f"job{next(numbers)}"
        for name in ("in", "out", "state"):
            (folder / name).mkdir(parents=True)
            monkeypatch.setenv(f"LILONG_{name.upper()}", str(folder / name))
        (folder / "in" / "spec.json").write_text(json.dumps(spec))
        for name, path in inputs.items():
            (folder / "in" / name).symlink_to(path)
        code = main([verb])
        return Done(code, capsys.readouterr().err.strip(), folder / "out")

    return run


@pytest.fixture
def sources(job, tmp_path: Path) -> Path:
    return job("fetch", {}, texts=texts.folder(tmp_path / "texts")).out


@pytest.fixture
def version(job, sources: Path) -> Done:
    return job("build", {"name": "lantern-works/pages", "recipe": {"held_out": 0.2}}, sources=sources)


def test_every_file_is_kept_or_dropped_with_its_reason(version: Done) -> None:
    assert version.code == 0, version.message
    kept = version.table("data/train-00000.parquet") + version.table("data/heldout-00000.parquet")
    dropped = {row["uri"].rsplit("/", 1)[-1]: row for row in version.table("tables/dropped.parquet")}
    assert dropped["page00.html"]["reason"] == "exact-duplicate"
    assert dropped["short.txt"]["reason"] == "characters" and dropped["short.txt"]["detail"] == "characters 36 < 300"
    assert dropped["latin.txt"]["reason"] == "not-utf-8"
    assert dropped["again.txt"]["reason"].startswith("dup_line")
    assert dropped["zahlen.txt"]["detail"] == "language de is not among en, zh"
    assert dropped["page00.txt"]["reason"] == "near-duplicate"
    assert dropped["page00.txt"]["of"] in {row["id"] for row in version.table("data/train-00000.parquet") + kept}
    documents = version.result["documents"]
    assert documents["seen"] == documents["kept"] + documents["dropped"] == len(kept) + len(dropped)
    assert version.result["files_skipped"] == {}  # packing a folder leaves pictures out already


def test_a_document_is_named_by_the_sha256_of_its_text_and_keeps_its_licence(version: Done) -> None:
    for row in version.table("data/train-00000.parquet"):
        assert row["id"] == hashlib.sha256(row["text"].encode()).hexdigest()
        assert row["licence"] == "CC-BY-4.0" and row["source"] == "texts"
    assert (version.out / "licences/texts.txt").read_text().startswith("SPDX")


def test_no_relative_of_a_held_out_document_is_in_the_training_split(version: Done) -> None:
    train, held = version.table("data/train-00000.parquet"), version.table("data/heldout-00000.parquet")
    assert held and not {row["family"] for row in train} & {row["family"] for row in held}
    measured = measure([row["text"].encode() for row in train + held], words=5, characters=8, permutations=112, seed=9)
    trained, withheld = measured.signatures[: len(train)], measured.signatures[len(train) :]
    assert max(float((trained == one).mean(axis=1).max()) for one in withheld) < 0.35


def test_the_same_sources_and_recipe_give_the_same_bytes(job, sources: Path, version: Done) -> None:
    again = job("build", {"name": "lantern-works/pages", "recipe": {"held_out": 0.2}}, sources=sources)
    files = sorted(path.relative_to(version.out) for path in version.out.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(again.out) for path in again.out.rglob("*") if path.is_file())
    assert [path for path in files if (version.out / path).read_bytes() != (again.out / path).read_bytes()] == []


def test_another_seed_holds_out_other_documents_and_keeps_the_same_ones(job, sources: Path, version: Done) -> None:
    other = job("build", {"recipe": {"held_out": 0.2, "seed": 5}}, sources=sources)
    ids = [{row["id"] for row in one.table("data/heldout-00000.parquet")} for one in (version, other)]
    assert ids[0] != ids[1]
    assert other.result["documents"]["kept"] == version.result["documents"]["kept"]


def test_croissant_metadata_is_valid_and_its_records_can_be_read(version: Done) -> None:
    croissant = pytest.importorskip("mlcroissant")
    dataset = croissant.Dataset(jsonld=str(version.out / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    record = next(iter(dataset.records("train-00000")))
    assert record["train-00000/id"].decode() == hashlib.sha256(record["train-00000/text"]).hexdigest()


def test_the_card_has_front_matter_that_the_hub_reads_and_a_datasheet(version: Done) -> None:
    cards = pytest.importorskip("huggingface_hub")
    card = cards.DatasetCard.load(version.out / "README.md")
    assert card.data.license == "cc-by-4.0" and set(card.data.language) == {"en", "zh"}
    (config,) = card.data.to_dict()["configs"]
    assert [entry["path"] for entry in config["data_files"]] == ["data/train-*.parquet", "data/heldout-*.parquet"]
    assert "near-duplicate" in card.text and "Known limits" in card.text


def test_a_source_without_licence_evidence_stops_the_build(job, tmp_path: Path) -> None:
    found = job("fetch", {}, texts=texts.folder(tmp_path / "texts", documents=3, licence=None))
    refused = job("build", {}, sources=found.out)
    assert refused.code == 6 and "'texts' has no licence evidence" in refused.message and "licences.toml" in refused.message
    assert not (refused.out / "result.json").exists() and not list(refused.out.iterdir())
    allowed = job("build", {"recipe": {"require_licence": False}}, sources=found.out)
    assert allowed.code == 0 and list(allowed.result["licences"]) == ["NOASSERTION"]


def test_a_licence_that_nobody_knows_is_refused_by_name(job, tmp_path: Path) -> None:
    folder = texts.folder(tmp_path / "texts", documents=3, licence=None)
    (folder / "licences.toml").write_text('[sources.pages]\npath = "pages"\nlicence = "Sundays-only"\nstatement = "said so"\n')
    refused = job("fetch", {}, texts=folder)
    assert refused.code == 2 and "Sundays-only" in refused.message and "SPDX" in refused.message


def test_a_licence_text_that_is_not_recognised_stops_the_build_until_a_person_has_read_it(job, tmp_path: Path) -> None:
    found = job("fetch", {}, texts=texts.folder(tmp_path / "texts", documents=3, licence="Read this on Sundays."))
    refused = job("build", {}, sources=found.out)
    assert refused.code == 6 and 'licences = { "texts" = "<SPDX>" }' in refused.message
    wrong = job("build", {"recipe": {"licences": {"texts": "Sundays"}}}, sources=found.out)
    assert wrong.code == 2 and "'Sundays', which is not an SPDX expression" in wrong.message
    read = job("build", {"recipe": {"licences": {"texts": "LicenseRef-Sundays"}}}, sources=found.out)
    assert list(read.result["licences"]) == ["LicenseRef-Sundays"]


def test_a_licences_file_names_the_sources_of_a_folder(job, tmp_path: Path) -> None:
    folder = texts.folder(tmp_path / "texts", documents=3, licence=None)
    (folder / "licences.toml").write_text(
        '[sources.pages]\npath = "pages"\nlicence = "cc0-1.0"\nstatement = "Our own."\n[sources.plain]\npath = "source"\nlicence = "LicenseRef-ours"\nstatement = "Ours."\n'
    )
    found = job("fetch", {}, texts=folder)
    assert [(one["name"], one["licence"]) for one in found.result["sources"]] == [("pages", "CC0-1.0"), ("plain", "LicenseRef-ours")]
    (folder / "licences.toml").write_text('[sources.pages]\npath = "../.."\nlicence = "MIT"\n')
    assert "is not in the folder" in job("fetch", {}, texts=folder).message


def test_a_policy_that_leaves_nothing_says_which_rules_did_it(job, sources: Path) -> None:
    policy = {"name": "strict", "version": "1", "rules": [{"signal": "words", "min": 100_000}]}
    refused = job("build", {"recipe": {"policy": policy}}, sources=sources)
    assert refused.code == 6 and "words (" in refused.message and not (refused.out / "result.json").exists()


def test_a_folder_without_texts_and_a_typo_in_the_recipe_are_one_clear_line(job, tmp_path: Path, sources: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no file that can be read as text" in job("fetch", {}, texts=tmp_path / "empty").message
    refused = job("build", {"recipe": {"sede": 1}}, sources=sources)
    assert refused.code == 2 and refused.message.startswith("bad-recipe: The recipe's 'sede'") and "\n" not in refused.message


def test_limits_take_the_same_documents_every_time(job, sources: Path) -> None:
    few = [job("build", {"recipe": {"limits": {"max_documents": 10}}}, sources=sources) for _ in range(2)]
    assert few[0].result["documents"]["kept"] <= 10 and few[0].result["dropped"]["limit"] > 0
    assert few[0].table("data/train-00000.parquet") == few[1].table("data/train-00000.parquet")


def test_an_archive_that_was_changed_after_fetching_is_noticed(job, sources: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(sources, tmp_path / "copy")
    with (copy / "archives" / "texts.tar").open("ab") as file:
        file.write(b"\0")
    assert job("build", {}, sources=copy).code == 8


def test_a_document_s_own_licence_tag_wins_and_can_be_refused(job, tmp_path: Path) -> None:
    folder = texts.folder(tmp_path / "texts", documents=3)
    (folder / "pages" / "zh00.txt").write_text("# SPDX-License-Identifier: MIT\n\n" + texts.chinese(77))
    built = job("build", {}, sources=job("fetch", {}, texts=folder).out)
    assert set(built.result["licences"]) == {"CC-BY-4.0", "MIT"}
    strict = job("build", {"recipe": {"allow_licences": ["CC-BY-4.0"]}}, sources=job("fetch", {}, texts=folder).out)
    assert strict.result["dropped"]["licence"] == 1


def test_links_and_devices_in_an_archive_are_not_offered(tmp_path: Path) -> None:
    pack(tmp_path / "a.tar", {"b.txt": b"text"})
    with tarfile.open(tmp_path / "a.tar", "a") as archive:
        link = tarfile.TarInfo("escape.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    assert ArchiveFiles(tmp_path / "a.tar").paths() == ["b.txt"]


@pytest.mark.parametrize(
    ("name", "depends", "stands_for"),
    [
        ("python3-doc", ["python3.11-doc"], "python3.11-doc"),
        ("postgresql-doc", ["postgresql-doc-15"], "postgresql-doc-15"),
        ("linux-doc", ["linux-doc-6.1"], "linux-doc-6.1"),
        ("manpages", [], "manpages"),
        ("git-doc", ["git"], "git-doc"),
        ("python3.11-doc", ["libjs-sphinxdoc", "python3.11"], "python3.11-doc"),
    ],
)
def test_a_meta_package_stands_for_the_versioned_one(name: str, depends: list[str], stands_for: str) -> None:
    assert unversioned(name, depends) == stands_for


def test_installed_python_packages_are_a_corpus_of_last_resort(job) -> None:
    found = job("fetch", {})
    assert found.code == 0 and found.result["kind"] == "python-packages" and "installed Python packages" in found.result["note"]
    assert all(one["licence"] and one["evidence"] for one in found.result["sources"])
    built = job("build", {"recipe": {"limits": {"max_documents": 40}}}, sources=found.out)
    assert built.code == 0 and built.result["documents"]["kept"] > 20


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed")
needs_bwrap = pytest.mark.skipif(shutil.which("bwrap") is None or shutil.which("apt-get") is None, reason="needs bwrap and apt")


@needs_dpkg
def test_a_debian_package_is_opened_without_being_installed(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: lane-doc\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.example>\nDescription: d\n"
    )
    (package / "usr/share/doc/lane-doc").mkdir(parents=True)
    (package / "usr/share/doc/lane-doc/README").write_text("lane")
    subprocess.run(["dpkg-deb", "-b", package, tmp_path / "lane-doc.deb"], check=True, capture_output=True)
    files = ArchiveFiles(tmp_path / "lane-doc.deb")
    assert files.paths() == ["usr/share/doc/lane-doc/README"] and files.read("usr/share/doc/lane-doc/README") == b"lane"


@needs_bwrap
def test_without_a_network_fetching_falls_back_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "spec.json").write_text(json.dumps({"packages": ["python3-doc"]}))
    folders = [part for name in ("in", "out", "state") for part in ("--setenv", f"LILONG_{name.upper()}", str(tmp_path / name))]
    command = ["bwrap", "--dev-bind", "/", "/", "--unshare-net", *folders, sys.executable, "-m", "lilong.floors.corpus.work", "fetch"]
    (tmp_path / "state").mkdir()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert "could not be fetched" in json.loads((tmp_path / "out" / "result.json").read_text())["note"]
    assert "are used instead" in done.stderr
    (tmp_path / "in" / "spec.json").write_text(json.dumps({"packages": ["python3-doc"], "fallback": False}))
    refused = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert refused.returncode == 7 and "packages-unreachable" in refused.stderr


@pytest.mark.slow
def test_the_default_packages_become_a_corpus_of_two_languages(job) -> None:
    found = job("fetch", {"packages": PACKAGES})
    if found.result["kind"] != "debian":
        pytest.skip(found.result["note"])
    missing = job("fetch", {"packages": ["no-such-lane-doc"]})
    assert (missing.code, missing.message) == (7, f"missing-package: {MissingPackage(package='no-such-lane-doc')}")
    built = job("build", {"recipe": {"limits": {"max_documents": 60}}}, sources=found.out)
    assert built.code == 0, built.message
    assert set(built.result["languages"]) == {"en", "zh"}
    assert {"PSF-2.0", "PostgreSQL", "GFDL-1.2-or-later"} <= set(built.result["licences"])
    assert recipe.parse({"limits": {"max_documents": 60}}).digest() == built.result["recipe_digest"]
