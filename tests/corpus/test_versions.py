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

from lilong.floors.corpus import rules
from lilong.floors.corpus.backends.debian import unversioned
from lilong.floors.corpus.backends.source_set import ArchiveFiles, pack
from lilong.floors.corpus.contract import MissingPackage
from lilong.floors.corpus.curation import recipe
from lilong.floors.corpus.curation.dedup import shingles
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.versions import publishing
from lilong.floors.corpus.work import VERBS
from lilong.ground.work import carry_out, one_of
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

    def run(verb: str, spec: dict[str, Any], sources: Path | dict[str, Path] = (), again: Done | None = None, **inputs: Path) -> Done:  # type: ignore[assignment]
        folder = again.out.parent if again else tmp_path / f"job{next(numbers)}"
        for name in ("in", "out", "state"):
            (folder / name).mkdir(parents=True, exist_ok=bool(again))
            monkeypatch.setenv(f"LILONG_{name.upper()}", str(folder / name))
        (folder / "in" / "spec.json").write_text(json.dumps(spec))
        for name, path in inputs.items():
            (folder / "in" / name).symlink_to(path)
        if sources and not again:
            (folder / "in" / "sources").mkdir()
            for name, path in (sources if isinstance(sources, dict) else {"set-1": sources}).items():
                (folder / "in" / "sources" / name).symlink_to(path)
        code = carry_out(one_of(VERBS, [verb]))
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
    decisions = version.table("tables/decisions.parquet")
    dropped = {row["uri"].rsplit("/", 1)[-1]: row for row in decisions if not row["keep"]}
    assert dropped["page00.html"]["reason"] == "exact_duplicate"
    assert dropped["short.txt"]["reason"] == "too_short" and dropped["short.txt"]["detail"] == "bytes 36 < 250"
    assert dropped["latin.txt"]["reason"] == "not-utf-8" and dropped["latin.txt"]["step"] == "reading"
    assert dropped["again.txt"]["reason"].startswith("dup_line")
    assert dropped["zahlen.txt"]["detail"] == "language de not in [en, zh]"
    assert dropped["page00.txt"]["reason"] == "near_duplicate"
    assert dropped["page00.txt"]["detail"].split()[-1] in {row["id"] for row in kept}
    assert {row["id"] for row in decisions if row["keep"]} == {row["id"] for row in kept}
    assert all(row["step"] and row["reason"] and row["detail"] for row in dropped.values())
    documents = version.result["documents"]
    assert documents["seen"] == documents["kept"] + documents["dropped"] == len(kept) + len(dropped) == len(decisions)
    assert version.result["files_skipped"] == {}  # packing a folder leaves pictures out already


def test_a_document_is_named_by_the_sha256_of_its_text_and_keeps_its_licence(version: Done) -> None:
    for row in version.table("data/train-00000.parquet"):
        assert row["id"] == hashlib.sha256(row["text"].encode()).hexdigest()
        assert (row["licence"], row["source"], row["contributor"]) == ("CC-BY-4.0", "texts", "lantern-works")
        assert row["transforms"] == f"{row['format']}>docs@1" and row["retrieved_at"].endswith("Z")
    assert (version.out / "licences/texts.txt").read_text().startswith("SPDX")


def test_no_relative_of_a_held_out_document_is_in_the_training_split(version: Done) -> None:
    train, held = version.table("data/train-00000.parquet"), version.table("data/heldout-00000.parquet")
    assert held and not {row["family"] for row in train} & {row["family"] for row in held}
    signed = shingles.signatures(Texts.of([row["text"] for row in train + held]), shingles.Banding(5, 28, 4, seed=9), 8)
    trained, withheld = signed[: len(train)], signed[len(train) :]
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
    assert "near_duplicate" in card.text and "Known limits" in card.text and "Quality by source" in card.text


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
    assert wrong.code == 2 and "'licences.texts'" in wrong.message and "'Sundays' is not an SPDX expression" in wrong.message
    read = job("build", {"recipe": {"licences": {"texts": "LicenseRef-Sundays"}}}, sources=found.out)
    assert list(read.result["licences"]) == ["LicenseRef-Sundays"] == [one["licence"] for one in read.result["sources"]]


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
    policy = {"name": "strict", "version": "1", "rules": [{"step": "length", "reason": "few", "drop": "tokens < 100000"}]}
    refused = job("build", {"recipe": {"policy": policy}}, sources=sources)
    assert refused.code == 6 and "few (" in refused.message and not (refused.out / "result.json").exists()


def test_a_folder_without_texts_and_a_typo_in_the_recipe_are_one_clear_line(job, tmp_path: Path, sources: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no file that can be read as text" in job("fetch", {}, texts=tmp_path / "empty").message
    refused = job("build", {"recipe": {"sede": 1}}, sources=sources)
    assert refused.code == 2 and refused.message.startswith("bad-recipe: The recipe's 'sede'") and "\n" not in refused.message


def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(
    job, sources: Path, version: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    spec = {"name": "lantern-works/pages", "recipe": {"held_out": 0.2}}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(publishing, "publish", killed)
        job("build", spec, sources=sources)
    (half,) = [path for path in version.out.parent.parent.glob("job*") if (path / "state" / "run").exists()]
    monkeypatch.setenv("LILONG_IN", str(half / "in"))
    done = job("build", spec, again=Done(0, "", half / "out"))
    assert done.code == 0 and not (half / "state" / "run").exists()
    assert bytes_of(done) == bytes_of(version)


def bytes_of(done: Done) -> dict[str, str]:
    files = [path for path in done.out.rglob("*") if path.is_file()]
    return {path.relative_to(done.out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_evidence_is_pointed_at(version: Done) -> None:
    (source,) = version.table("tables/sources.parquet")
    evidence = (version.out / source["evidence"]).read_text()
    assert evidence[source["evidence_start"] : source["evidence_end"]] == "CC-BY-4.0" == source["licence"]


def test_the_score_card_of_a_source_counts_what_became_of_its_documents(version: Done) -> None:
    (source,) = version.table("tables/sources.parquet")
    documents = version.result["documents"]
    assert source["files"] == documents["seen"] and source["documents"] == documents["kept"] and source["read"] == documents["read"]
    assert source["pass_rate"] == round(documents["kept"] / documents["read"], 4)
    assert source["exact_duplicate_share"] == round(1 / source["read"], 4) and source["near_duplicate_share"] > 0
    assert {one["language"] for one in source["languages"]} == {"en", "zh", "de"}
    assert source["bytes_p10"] <= source["bytes_p50"] <= source["bytes_p90"]


def test_what_was_dropped_can_be_looked_at_but_is_not_published(version: Done) -> None:
    review = {row["id"]: row["text"] for row in version.table("review/dropped.parquet")}
    lost = {
        row["id"]
        for row in version.table("tables/decisions.parquet")
        if row["id"] and not row["keep"] and row["reason"] != "exact_duplicate"
    }
    assert set(review) == lost and "Too short to teach anybody anything." in review.values()
    published = rules.published(bytes_of(version))
    assert version.result["samples"]["dropped"] and "result.json" not in published
    assert "Too short to teach" not in "".join(
        path.read_text() for path in version.out.glob("*.*") if path.name in published and path.suffix != ".parquet"
    )
    assert {"figures.json", "policy.toml", "report.json", "tables/contributions.parquet"} <= set(published)
    assert not {path for path in published if path.startswith("review/")} and "vocabulary.arrow" not in published


def test_personal_data_is_counted_and_masked_or_dropped_where_the_recipe_says_so(job, tmp_path: Path) -> None:
    folder = texts.folder(tmp_path / "texts", documents=3)
    (folder / "pages" / "write.txt").write_text("Write to ana.lopez@harbour-lab.dev about the gate.\n\n" + texts.english(70))
    found = job("fetch", {}, texts=folder).out
    counted = job("build", {}, sources=found)
    assert counted.result["personal"]["email"] == 1 and counted.table("tables/sources.parquet")[0]["personal"] == 1
    masked = job("build", {"recipe": {"personal": {"mask": ["email"]}}}, sources=found)
    kept = [row for name in ("train", "heldout") for row in masked.table(f"data/{name}-00000.parquet") if row["uri"].endswith("write.txt")]
    assert "[EMAIL]" in kept[0]["text"] and kept[0]["transforms"] == "plain>mask>docs@1"
    assert "ana.lopez" not in json.dumps([row["text"] for row in masked.table("review/dropped.parquet")])
    dropped = job("build", {"recipe": {"personal": {"drop": ["email"]}}}, sources=found)
    assert dropped.result["dropped"]["pii_email"] == 1 and dropped.result["personal"]["email"] == 0


@pytest.mark.parametrize("profile", ["fineweb", "gopher-zh", "code"])
def test_a_recipe_may_name_another_profile(job, sources: Path, profile: str) -> None:
    policy = {"name": "all", "version": "1", "rules": []}
    built = job("build", {"recipe": {"profile": profile, "policy": policy}}, sources=sources)
    assert built.code == 0, built.message
    (source,) = built.table("tables/sources.parquet")
    assert source["personal"] == 0 and source["documents"] > 30 and built.result["profile"].startswith(profile)
    assert 'policy = "' not in (built.out / "policy.toml").read_text() and built.result["policy"] == "all 1"


@pytest.fixture
def two_sets(job, tmp_path: Path) -> dict[str, Path]:
    """Two members' texts: the second has the first's first four pages and eight of its own."""
    first, second = texts.folder(tmp_path / "one", documents=8), texts.folder(tmp_path / "two", documents=4)
    for number in range(40, 48):
        (second / "pages" / f"own{number}.txt").write_text(texts.english(number))
    return {"set-a": job("fetch", {}, texts=first).out, "set-b": job("fetch", {}, texts=second).out}


SETS = {"set-a": {"contributor": "lantern-works"}, "set-b": {"contributor": "harbour-lab", "terms": "alliance"}}


def test_two_members_texts_become_one_version_that_tells_what_each_has_added(job, two_sets: dict[str, Path]) -> None:
    built = job("build", {"name": "lantern-works/both", "recipe": {"held_out": 0.2}, "sets": SETS}, sources=two_sets)
    assert built.code == 0, built.message
    assert [(one["name"], one["contributor"], one["terms"]) for one in built.result["sources"]] == [
        ("texts.set-a", "lantern-works", "private"), ("texts.set-b", "harbour-lab", "alliance"),
    ]  # fmt: skip
    harbour, lantern = built.table("tables/contributions.parquet")
    assert (harbour["contributor"], lantern["contributor"]) == ("harbour-lab", "lantern-works")
    assert harbour["kept_documents"] == harbour["unique_documents"] == 8 and harbour["unique_bytes"] == harbour["kept_bytes"]
    # Four pages in English, four in Chinese, two of the English ones as text too, the copy, and three that are no good: all are the other's.
    assert harbour["others_copies"] == 14 and harbour["own_copies"] == 0
    assert lantern["unique_documents"] == lantern["kept_documents"] - 8
    for one in (harbour, lantern):
        assert one["offered_documents"] >= one["kept_documents"] + one["own_copies"] + one["others_copies"]
    kept = [row for name in ("train", "heldout") for row in built.table(f"data/{name}-00000.parquet")]
    assert {row["contributor"] for row in kept if "own4" in row["uri"]} == {"harbour-lab"}
    assert {"licences/texts.set-a.txt", "licences/texts.set-b.txt"} <= set(bytes_of(built))


def test_a_contributor_s_texts_can_be_taken_down_and_what_others_have_too_stays(job, two_sets: dict[str, Path]) -> None:
    spec = {"name": "lantern-works/both", "recipe": {"held_out": 0.2}, "sets": SETS, "without": {"contributors": ["lantern-works"]}}
    built = job("build", spec, sources=two_sets)
    assert built.code == 0, built.message
    kept = [row for name in ("train", "heldout") for row in built.table(f"data/{name}-00000.parquet")]
    assert {row["contributor"] for row in kept} == {"harbour-lab"} and len(kept) == 16
    gone = [row for row in built.table("tables/decisions.parquet") if row["source"] == "texts.set-a"]
    assert gone and {(row["step"], row["reason"], row["id"]) for row in gone} == {("takedown", "taken-down", None)}
    by_source = job("build", {**spec, "without": {"sources": ["texts.set-a"]}}, sources=two_sets)
    assert by_source.result["documents"] == built.result["documents"]


def test_a_document_that_is_taken_down_goes_with_its_copies_and_near_duplicates_and_leaves_no_text(
    job, sources: Path, version: Done
) -> None:
    kept = {row["uri"]: row for name in ("train", "heldout") for row in version.table(f"data/{name}-00000.parquet")}
    page = kept["pages/copy.html"]  # page00.html says the same, source/page00.txt nearly
    spec = {"name": "lantern-works/pages", "recipe": {"held_out": 0.2}, "without": {"documents": [page["id"]]}}
    built = job("build", spec, sources=sources)
    assert built.result["documents"]["kept"] == version.result["documents"]["kept"] - 1
    decisions = {row["uri"]: row for row in built.table("tables/decisions.parquet")}
    assert decisions["pages/copy.html"]["reason"] == decisions["source/page00.txt"]["reason"] == "taken-down"
    assert decisions["pages/page00.html"]["reason"] == "exact_duplicate"
    assert built.result["documents"]["seen"] == built.result["documents"]["kept"] + built.result["documents"]["dropped"]
    sentence = page["text"].split("\n")[0]
    shown = json.dumps([built.result["samples"], built.table("review/dropped.parquet"), built.table("data/train-00000.parquet")])
    assert json.dumps(sentence)[1:-1] not in shown
    report = json.loads((built.out / "report.json").read_text())
    assert report["documents"]["kept"] == report["sources"][0]["kept"] == built.result["documents"]["kept"]
    assert report["documents"]["dropped"] == sum(one["documents"] for one in report["dropped"])
    assert not {row["uri"] for row in built.table("tables/clusters.parquet")} & {
        "pages/copy.html",
        "pages/page00.html",
        "source/page00.txt",
    }


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
