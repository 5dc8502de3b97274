"""A repository as one file: out of one house, checked, and into another that has no network."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from huggingface_hub import CommitOperationAdd, HfApi

from lilong.cli import root
from lilong.floors.hub.contract import Kind, RepositoryExists
from lilong.floors.hub.service import reading
from lilong.floors.hub.service import repository_bundles as bundles
from lilong.floors.hub.service.repository_bundles import BadBundle, Incoming, Wanted
from lilong.ground.access import Actor
from lilong.ground.blobs import digest_of
from lilong.ground.errors import BadInput, Forbidden, LilongError
from lilong.ground.evidence import Artifact

from .conftest import hub_house
from .pair import Hub, serving, some_bytes

TOM, MEI = Actor("tom"), Actor("mei")
BIG = some_bytes(2 << 20)
NAME = "lantern-works/tide"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with serving(tmp_path_factory.mktemp("source") / "house") as hub:
        api = HfApi(hub.url, hub.tokens["mei"])
        api.create_repo(NAME, repo_type="dataset", private=True)
        for number in range(3):
            operations = [
                CommitOperationAdd("README.md", f"# Tide {number}\n".encode()),
                CommitOperationAdd(f"data/{number}.bin", BIG + bytes([number])),
            ]
            api.create_commit(NAME, operations, commit_message=f"number {number}", repo_type="dataset")
        api.create_tag(NAME, tag="v1", repo_type="dataset", tag_message="the first")
        api.create_branch(NAME, branch="tries", repo_type="dataset")
        api.upload_file(path_or_fileobj=b"a try", path_in_repo="try.txt", repo_id=NAME, repo_type="dataset", revision="tries")
        _, commit = reading.pinned(hub.house, MEI, Kind.DATASET, NAME, "main")
        manifest = reading.manifest_of(hub.house, commit)
        hub.house.db.write(
            lambda tx: hub.house.evidence.issue(
                tx, MEI, predicate_type="https://lilong.dev/corpus-version/v1", subjects=[Artifact(f"{NAME}@{commit.id}", manifest, "corpus")],
                materials=[Artifact("tide gauge", digest_of(b"x"), "source")], predicate={"documents": 3},
            )
        )  # fmt: skip
        yield hub


@pytest.fixture(scope="module")
def bundle(source: Hub) -> bytes:
    ready = bundles.prepare(source.house, MEI, Wanted(Kind.DATASET, NAME))
    return b"".join(bundles.stream(source.house, ready))


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Hub]:
    with serving(tmp_path / "house") as hub:
        yield hub


def refs_of(hub: Hub, who: str, name: str) -> dict[str, str]:
    found = HfApi(hub.url, hub.tokens[who]).list_repo_refs(name, repo_type="dataset")
    return {ref.ref: ref.target_commit for ref in (*found.branches, *found.tags)}


def take(hub: Hub, content: bytes, **wish: object) -> bundles.Taken:
    return bundles.take(hub.house, TOM, Incoming(**{"name": "harbour-lab/tide", **wish}), iter([content]))  # type: ignore[arg-type]


def test_a_bundle_brings_all_refs_with_the_same_commits(source: Hub, target: Hub, bundle: bytes) -> None:
    taken = take(target, bundle)
    assert refs_of(target, "tom", "harbour-lab/tide") == refs_of(source, "mei", NAME)
    assert (taken.files, taken.statements) == (3, 1)
    there = HfApi(source.url, source.tokens["mei"]).list_repo_commits(NAME, repo_type="dataset")
    here = HfApi(target.url, target.tokens["tom"]).list_repo_commits("harbour-lab/tide", repo_type="dataset")
    assert [commit.commit_id for commit in here] == [commit.commit_id for commit in there]


def test_every_revision_of_a_bundle_downloads_as_it_was(source: Hub, target: Hub, bundle: bytes, tmp_path: Path) -> None:
    take(target, bundle)
    for word in ("v1", "tries", "main~"):
        revision = (
            word if word != "main~" else HfApi(source.url, source.tokens["mei"]).list_repo_commits(NAME, repo_type="dataset")[1].commit_id
        )
        contents = []
        for hub, who, name in ((source, "mei", NAME), (target, "tom", "harbour-lab/tide")):
            folder = tmp_path / f"{who}-{revision}"
            HfApi(hub.url, hub.tokens[who]).snapshot_download(
                name, repo_type="dataset", revision=revision, local_dir=folder, cache_dir=tmp_path / "c"
            )
            contents.append(
                {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and ".cache" not in p.parts}
            )
        assert contents[0] == contents[1]


def test_statements_come_as_those_of_another_house_and_travel_on(source: Hub, target: Hub, bundle: bytes, tmp_path: Path) -> None:
    taken = take(target, bundle)
    (statement,) = bundles.foreign(target.house, TOM, Kind.DATASET, "harbour-lab/tide")
    assert statement.predicate_type == "https://lilong.dev/corpus-version/v1"
    assert [holder for holder, _ in statement.keys.values()] == ["house"]
    assert target.house.db.read(target.house.evidence.recent) == []
    again = b"".join(bundles.stream(target.house, bundles.prepare(target.house, TOM, Wanted(Kind.DATASET, "harbour-lab/tide"))))
    third = hub_house(tmp_path / "third")
    try:
        assert bundles.take(third, TOM, Incoming("harbour-lab/tide"), iter([again])).statements == taken.statements
    finally:
        third.close()


def test_git_reads_the_history_in_a_bundle(source: Hub, bundle: bytes, tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        archive.extract("repository.bundle", tmp_path, filter="data")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "GIT_LFS_SKIP_SMUDGE": "1"}
    subprocess.run(["git", "clone", "-q", "repository.bundle", "clone"], cwd=tmp_path, env=env, check=True, capture_output=True)
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=tmp_path / "clone", env=env, check=True, capture_output=True, text=True
    ).stdout.strip()
    assert head == refs_of(source, "mei", NAME)["refs/heads/main"]
    subprocess.run(["git", "fsck", "--strict"], cwd=tmp_path / "clone", env=env, check=True, capture_output=True)


def flipped(bundle: bytes, place: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        member = next(member for member in archive if member.name.startswith(place))
        at = member.offset_data + member.size // 2
    return bundle[:at] + bytes([bundle[at] ^ 1]) + bundle[at + 1 :]


@pytest.mark.parametrize("place", ["repository.bundle", "contents/", "statements/", "keys/", "bundle.json", "bundle.sig"])
def test_a_flipped_byte_is_named_and_nothing_is_kept(target: Hub, bundle: bytes, place: str) -> None:
    with pytest.raises(LilongError) as refused:
        take(target, flipped(bundle, place))
    named = {"keys/": ("keys/",), "bundle.json": ("bundle.json",)}.get(place, (place,))
    assert any(name in str(refused.value) for name in named)
    assert nothing_in(target)


def nothing_in(hub: Hub) -> bool:
    tables = ("hub_repositories", "hub_commits", "hub_refs", "hub_contents", "hub_foreign_statements")
    rows = sum(hub.house.db.read(lambda tx, table=table: tx.value(f"SELECT COUNT(*) FROM {table}")) for table in tables)  # type: ignore[misc]
    return rows == 0 and not hub.house.blobs.has(digest_of(BIG + b"\0")) and not list((hub.house.settings.run / "bundles").iterdir())


def rebuilt(bundle: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """A bundle with other files, listed rightly, but signed by nobody who may."""
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    change(files)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def listed_anew(files: dict[str, bytes]) -> None:
    index = json.loads(files["bundle.json"])
    index["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in files.items()
        if not name.startswith("bundle.")
    }
    files["bundle.json"] = json.dumps(index, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def test_a_list_that_was_written_anew_is_not_the_signed_one(target: Hub, bundle: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        files.pop(next(name for name in files if name.startswith("statements/")))
        listed_anew(files)

    with pytest.raises(BadBundle, match=r"bundle\.json"):
        take(target, rebuilt(bundle, change))
    assert nothing_in(target)


def test_only_the_trusted_key_is_taken_where_one_is_given(source: Hub, target: Hub, bundle: bytes, tmp_path: Path) -> None:
    other = hub_house(tmp_path / "other")
    try:
        from lilong.ground.events import origin_of
        from lilong.ground.log import Verifier

        stranger = Verifier(origin_of("Lilong"), other.keys.house().public.raw()).vkey
    finally:
        other.close()
    with pytest.raises(BadBundle):
        take(target, bundle, trusted=stranger)
    own = Verifier(origin_of("Lilong"), source.house.keys.house().public.raw()).vkey
    assert take(target, bundle, trusted=own).key == own


def test_what_is_no_key_is_refused_before_anything_is_read(target: Hub) -> None:
    for trusted in ("x", "lilong/lilong+00000000+AAAA", "a+b+c+d", "+" * 40, "\N{SNOWMAN}"):
        with pytest.raises(BadInput, match="'trusted'"):
            bundles.take(target.house, TOM, Incoming("", trusted=trusted), iter([]))


@pytest.mark.parametrize("share", [0.2, 0.6, 0.98])
def test_a_bundle_that_ends_early_leaves_nothing(target: Hub, bundle: bytes, share: float) -> None:
    with pytest.raises(BadBundle):
        take(target, bundle[: int(len(bundle) * share)])
    assert nothing_in(target)


@pytest.mark.parametrize("name", ["../evil", "contents/../../evil", "/etc/passwd", "contents/" + "g" * 64])
def test_an_archive_with_a_place_of_its_own_choice_is_refused(target: Hub, bundle: bytes, name: str) -> None:
    with pytest.raises(BadBundle, match="does not belong"):
        take(target, rebuilt(bundle, lambda files: files.update({name: b"evil"})))
    assert nothing_in(target)


def test_a_missing_large_file_is_named(target: Hub, source: Hub, bundle: bytes) -> None:
    def change(files: dict[str, bytes]) -> None:
        files.pop(next(name for name in files if name.startswith("contents/")))

    with pytest.raises(BadBundle, match="contents/"):
        take(target, rebuilt(bundle, change))
    assert nothing_in(target)


def test_a_name_that_is_taken_and_a_foreign_organisation_are_refused(target: Hub, bundle: bytes) -> None:
    take(target, bundle)
    with pytest.raises(RepositoryExists):
        take(target, bundle)
    with pytest.raises(Forbidden):
        take(target, bundle, name="lantern-works/tide")


def test_one_revision_travels_with_what_led_to_it_only(source: Hub, target: Hub) -> None:
    ready = bundles.prepare(source.house, MEI, Wanted(Kind.DATASET, NAME, "v1"))
    taken = take(target, b"".join(bundles.stream(source.house, ready)))
    assert set(taken.refs) == {"refs/tags/v1"}


def test_branches_of_pull_requests_travel_where_they_are_asked_for(source: Hub, target: Hub) -> None:
    api = HfApi(source.url, source.tokens["mei"])
    made = api.create_pull_request("lantern-works/tide", "more", repo_type="dataset")
    ready = bundles.prepare(source.house, MEI, Wanted(Kind.DATASET, NAME, pulls=True))
    taken = take(target, b"".join(bundles.stream(source.house, ready)))
    assert f"refs/pr/{made.num}" in taken.refs
    opened = HfApi(target.url, target.tokens["tom"]).create_discussion("harbour-lab/tide", "next", repo_type="dataset")
    assert opened.num == made.num + 1


def test_the_command_line_writes_a_bundle_and_takes_it_in(source: Hub, target: Hub, tmp_path: Path) -> None:
    def run(hub: Hub, who: str, *words: str) -> dict[str, object]:
        token = tmp_path / f"{who}.token"
        token.write_text(hub.tokens[who])
        token.chmod(0o600)
        result = CliRunner().invoke(root, ["hub", *words, "--url", hub.url, "--token-file", str(token), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        value: dict[str, object] = json.loads(result.stdout)
        return value

    file = tmp_path / "tide.tar"
    run(source, "mei", "export", NAME, "--kind", "dataset", "--out", str(file))
    taken = run(target, "tom", "import-bundle", str(file), "--as", "harbour-lab/tide")
    assert taken["refs"] == refs_of(source, "mei", NAME)


def test_the_command_line_writes_over_no_file_and_says_which_option_is_wrong(source: Hub, tmp_path: Path) -> None:
    token, kept = tmp_path / "mei.token", tmp_path / "kept.tar"
    token.write_text(source.tokens["mei"])
    token.chmod(0o600)
    kept.write_text("mine")
    for out, said in ((kept, "exists"), (tmp_path / "nowhere" / "tide.tar", "there is no folder")):
        words = ["hub", "export", NAME, "--kind", "dataset", "--out", str(out), "--url", source.url, "--token-file", str(token)]
        with pytest.raises(LilongError, match=f"'out' .*{said}"):
            CliRunner().invoke(root, words, catch_exceptions=False, standalone_mode=False)
    words = ["hub", "import", "https://hub.example/a/b", "--source-token", "none", "--url", source.url, "--token-file", str(token)]
    with pytest.raises(LilongError, match="'source-token'"):
        CliRunner().invoke(root, words, catch_exceptions=False, standalone_mode=False)
    with pytest.raises(LilongError, match="LILONG_TOKEN_FILE"):
        CliRunner().invoke(root, ["hub", "import", "--list", "--url", source.url], catch_exceptions=False, standalone_mode=False)
    assert kept.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept.tar", "mei.token"]
