"""A corpus version that holds its training split as token shards of a base model's tokenizer too, ready for a training to read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lilong.floors.compute.backends.local import LocalSite
from lilong.floors.corpus import service
from lilong.floors.corpus.contract import BadRecipe, BuildAsk, SourcesAsk, SourceSet, State, Version
from lilong.floors.corpus.curation.writing.tokens import TokenShards
from lilong.floors.hub.contract import Hub, Kind, RepositoryNotFound, Revision
from lilong.floors.training import rules
from lilong.floors.training.pretraining.shards import Shards
from lilong.ground.house import House
from tests.corpus import texts
from tests.corpus.test_service import ORGANISATION, TOM, house, settle
from tests.training.tiny import tiny_tokenizer

__all__ = ["house"]
MODEL = f"{ORGANISATION}/base"
REPOSITORY = f"{ORGANISATION}/tokenised"


@pytest.fixture(scope="module")
def tokenizer() -> bytes:
    return tiny_tokenizer(400).to_str().encode()


@pytest.fixture(scope="module")
def model(house: House, tokenizer: bytes) -> Revision:
    files = {"tokenizer.json": house.blobs.put(tokenizer).digest, "README.md": house.blobs.put(b"# A base\n").digest}
    return house.port(Hub).publish(TOM, Kind.MODEL, MODEL, files, "A base", lambda _, revision: revision)  # type: ignore[type-abstract]


@pytest.fixture(scope="module")
def sources(house: House, tmp_path_factory: pytest.TempPathFactory) -> SourceSet:
    folder = texts.folder(tmp_path_factory.mktemp("texts") / "texts", documents=9)
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = {path.relative_to(folder).as_posix(): service.keep_text(house, TOM, ORGANISATION, path.read_bytes()).digest for path in files}
    asked = service.fetch(house, TOM, SourcesAsk(ORGANISATION, "texts", texts=kept))
    settle(house)
    return service.source_set(house, TOM, asked.id)


@pytest.fixture(scope="module")
def version(house: House, sources: SourceSet, model: Revision) -> Iterator[Version]:
    recipe = {"held_out": 0.2, "tokenise": f"{MODEL}@main"}
    asked = service.build(house, TOM, BuildAsk(ORGANISATION, "tokenised", sources.id, REPOSITORY, recipe))
    settle(house)
    yield service.version(house, TOM, asked.id)
    house.port(LocalSite).stop()


def test_the_version_s_shards_are_those_that_a_training_on_the_same_base_reads(
    house: House, version: Version, tokenizer: bytes, tmp_path: Path
) -> None:
    assert version.state is State.DONE, version.error
    tree = house.db.read(lambda tx: house.port(Hub).revision(tx, TOM, Kind.DATASET, REPOSITORY)).tree()  # type: ignore[type-abstract]
    files = rules.corpus_files(REPOSITORY, tree, "tokens")
    assert set(files) == {name for name in tree if name.startswith("tokens/")} == {f"tokens/{name}" for name in ("index.json", "tokens-00000.bin", "tokens-00000.idx")}  # fmt: skip
    for name, digest in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(house.blobs.read(digest))
    (tmp_path / "tokenizer.json").write_bytes(tokenizer)
    shards = Shards(tmp_path, 64, tmp_path / "tokenizer.json")
    kept = version.figures["documents"]
    assert shards.documents == len(TokenShards(tmp_path / "tokens")) == kept["kept"] - kept["held_out"]  # nothing of the held-out ones


def test_the_statement_names_the_tokenizer_and_the_recipe_its_commit(
    house: House, version: Version, model: Revision, tokenizer: bytes
) -> None:
    statement = house.db.read(lambda tx: house.evidence.get(tx, version.statement or ""))
    digest = "sha256:" + hashlib.sha256(tokenizer).hexdigest()
    assert (f"tokenizer of {MODEL}@{model.commit}", digest) in [(one.name, one.digest) for one in statement.materials]


def test_a_model_that_is_not_there_or_has_no_tokenizer_is_refused_before_a_job_is_made(house: House, sources: SourceSet) -> None:
    def build(tokenise: str) -> None:
        service.build(house, TOM, BuildAsk(ORGANISATION, "refused", sources.id, REPOSITORY, {"tokenise": tokenise}))

    with pytest.raises(BadRecipe, match="organisation/model@revision"):
        build("base")
    with pytest.raises(RepositoryNotFound):
        build(f"{ORGANISATION}/none@main")
    bare = {"README.md": house.blobs.put(b"# Nothing\n").digest}
    house.port(Hub).publish(TOM, Kind.MODEL, f"{ORGANISATION}/bare", bare, "Nothing", lambda _, revision: revision)  # type: ignore[type-abstract]
    with pytest.raises(BadRecipe, match=r"bare@main has no tokenizer\.json"):
        build(f"{ORGANISATION}/bare@main")
