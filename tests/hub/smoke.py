"""What a team does with its hub in its first week, by the unmodified clients; each step says what it did.

    HF_ENDPOINT=http://… HF_TOKEN=… python smoke.py ORGANISATION [SECOND_TOKEN]

Runs with any huggingface_hub from 0.36 on; what needs `datasets`, `transformers`, `pandas`, `git` or `git-lfs` runs where they are
installed and is named where they are not. `SECOND_TOKEN`: of a user outside the organisation. Exits with 1 where something differs.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
HOME = Path(tempfile.mkdtemp(prefix="smoke-"))
os.environ["HF_HOME"] = str(HOME / "hf")

import huggingface_hub  # noqa: E402 - it reads its settings when it is imported
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, hf_hub_download, snapshot_download  # noqa: E402
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError  # noqa: E402

ENDPOINT, TOKEN = os.environ["HF_ENDPOINT"], os.environ["HF_TOKEN"]
ORGANISATION = sys.argv[1]
STRANGER = sys.argv[2] if len(sys.argv) > 2 else None
MARK = f"{random.getrandbits(32):08x}"
api = HfApi()


def has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def noise(size: int, seed: str) -> bytes:
    return random.Random(MARK + seed).randbytes(size)


def written(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def content_of(folder: Path) -> dict[str, str]:
    """path -> SHA-256 of what a user has there; not of git's and the clients' own files."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    kept = {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {path: digest for path, digest in kept.items() if not path.startswith((".git/", ".cache/")) and path != ".gitattributes"}


def refused(error: type[Exception], ask: Callable[[], object]) -> None:
    try:
        ask()
    except error:
        return
    raise AssertionError(f"{error.__name__} was expected")


def name_of(what: str) -> str:
    return f"{ORGANISATION}/{what}-{MARK}"


CARD = "---\nlicense: apache-2.0\npipeline_tag: text-generation\ntags: [smoke]\n---\n# Smoke\n"
FILES = {
    "README.md": CARD.encode(),
    "config.json": b'{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}',
    "notes/a b+c&d.txt": "spaces, signs and 潮汐\n".encode(),
    "data/large.parquet": noise(3 << 20, "large"),
    "data/again.parquet": noise(3 << 20, "large"),
    "data/small.parquet": noise(20_000, "small"),
    "empty.txt": b"",
}


def a_repository_by_folder() -> None:
    name = name_of("folder")
    assert api.whoami()["type"] == "user"
    api.create_repo(name, repo_type="dataset", private=True)
    source = written(HOME / "source", FILES)
    first = api.upload_folder(repo_id=name, folder_path=source, repo_type="dataset", commit_message="All files")
    assert content_of(Path(snapshot_download(name, repo_type="dataset", local_dir=HOME / "back"))) == content_of(source)
    assert api.upload_folder(repo_id=name, folder_path=source, repo_type="dataset").oid == first.oid, "nothing changed"
    large = noise(3 << 20, "large")
    changed = large[: 1 << 20] + noise(50_000, "insert") + large[1 << 20 :]
    second = api.upload_file(path_or_fileobj=changed, path_in_repo="data/large.parquet", repo_id=name, repo_type="dataset")
    for revision, expected in ((first.oid, large), ("main", changed), (second.oid, changed)):
        path = hf_hub_download(name, "data/large.parquet", repo_type="dataset", revision=revision)
        assert Path(path).read_bytes() == expected
    info = api.dataset_info(name, files_metadata=True)
    sizes = {file.rfilename: file.size for file in info.siblings or []}
    assert sizes["data/large.parquet"] == len(changed) and info.private
    tree = {entry.path: entry for entry in api.list_repo_tree(name, recursive=True, expand=True, repo_type="dataset")}
    assert tree["data/large.parquet"].lfs.sha256 == hashlib.sha256(changed).hexdigest()
    assert tree["notes"].last_commit.oid == first.oid and tree["data"].last_commit.oid == second.oid
    assert [commit.title for commit in api.list_repo_commits(name, repo_type="dataset")][1:] == ["All files", "initial commit"]


def branches_and_tags() -> None:
    name = name_of("folder")
    api.create_branch(name, branch="try", repo_type="dataset")
    api.upload_file(path_or_fileobj=b"on a branch\n", path_in_repo="branch.txt", repo_id=name, revision="try", repo_type="dataset")
    api.create_tag(name, tag="v1", tag_message="The first", repo_type="dataset")
    refs = api.list_repo_refs(name, repo_type="dataset")
    assert {ref.name for ref in refs.branches} == {"main", "try"} and [ref.name for ref in refs.tags] == ["v1"]
    refused(EntryNotFoundError, lambda: hf_hub_download(name, "branch.txt", repo_type="dataset"))
    refused(RevisionNotFoundError, lambda: api.dataset_info(name, revision="nowhere"))
    operations = [CommitOperationDelete("empty.txt"), CommitOperationDelete("notes/"), CommitOperationAdd("new.txt", b"new\n")]
    api.create_commit(name, operations, commit_message="Change", repo_type="dataset", parent_commit=api.dataset_info(name).sha)
    assert not {"empty.txt", "notes/a b+c&d.txt"} & set(api.list_repo_files(name, repo_type="dataset"))
    api.delete_tag(name, tag="v1", repo_type="dataset")
    api.delete_branch(name, branch="try", repo_type="dataset")


def pull_requests_and_discussions() -> None:
    name = name_of("folder")
    proposed = api.upload_file(path_or_fileobj=b"better\n", path_in_repo="new.txt", repo_id=name, repo_type="dataset", create_pr=True)
    number = proposed.pr_num
    assert number is not None and proposed.pr_revision == f"refs/pr/{number}"
    api.comment_discussion(name, number, comment="Looks **good**", repo_type="dataset")
    details = api.get_discussion_details(name, number, repo_type="dataset")
    assert details.status == "open" and details.is_pull_request and "+better" in (details.diff or "")
    api.merge_pull_request(name, number, repo_type="dataset")
    assert Path(hf_hub_download(name, "new.txt", repo_type="dataset")).read_bytes() == b"better\n"
    question = api.create_discussion(name, title="Which licence?", description="The texts'", repo_type="dataset")
    api.change_discussion_status(name, question.num, new_status="closed", repo_type="dataset")
    assert [d.title for d in api.get_repo_discussions(name, repo_type="dataset", discussion_status="closed") if not d.is_pull_request] == [
        "Which licence?"
    ]


def models_in_lists() -> None:
    name = name_of("model")
    api.create_repo(name)
    api.upload_file(path_or_fileobj=CARD.encode(), path_in_repo="README.md", repo_id=name)
    assert [model.id for model in api.list_models(author=ORGANISATION, search=MARK, filter=["smoke", "license:apache-2.0"])] == [name]
    assert api.model_info(name, expand=["likes", "tags"]).likes == 0
    collection = api.create_collection(f"Smoke {MARK}", namespace=ORGANISATION)
    api.add_collection_item(collection.slug, name, "model", note="the one")
    assert [item.item_id for item in api.get_collection(collection.slug).items] == [name]
    api.delete_collection(collection.slug)
    api.move_repo(name, f"{name}-moved")
    assert api.model_info(name).id == f"{name}-moved"
    api.super_squash_history(f"{name}-moved")
    assert len(api.list_repo_commits(f"{name}-moved")) == 1
    if STRANGER:
        other = HfApi(token=STRANGER)
        refused(RepositoryNotFoundError, lambda: other.dataset_info(name_of("folder")))
        refused(HfHubHTTPError, lambda: other.upload_file(path_or_fileobj=b"x", path_in_repo="x.txt", repo_id=f"{name}-moved"))
    api.delete_repo(f"{name}-moved")
    refused(RepositoryNotFoundError, lambda: api.model_info(f"{name}-moved"))


def a_file_system() -> None:
    fs = HfFileSystem(use_listings_cache=False)
    root = f"datasets/{name_of('folder')}"
    with fs.open(f"{root}/written/by-fs.txt", "w") as file:
        file.write("through the file system\n")
    assert fs.read_text(f"{root}/written/by-fs.txt") == "through the file system\n"
    with fs.open(f"{root}/data/again.parquet", "rb") as file:
        file.seek((1 << 20) + 17)
        assert file.read(100) == noise(3 << 20, "large")[(1 << 20) + 17 :][:100]
    assert f"{root}/data/again.parquet" in fs.glob(f"{root}/data/*.parquet")


def pandas_reads_and_writes() -> None:
    import pandas

    frame = pandas.DataFrame({"text": [f"line {number}" for number in range(2000)], "number": range(2000)})
    path = f"hf://datasets/{name_of('folder')}/frame.parquet"
    frame.to_parquet(path)
    assert pandas.read_parquet(path).equals(frame)


def datasets_pushes_loads_and_streams() -> None:
    import datasets

    name = name_of("lines")
    made = datasets.Dataset.from_dict(
        {"text": [f"line {number}" for number in range(5000)], "label": [number % 2 for number in range(5000)]}
    )
    made.push_to_hub(name, private=True)
    assert datasets.load_dataset(name, split="train")["text"][4999] == "line 4999"
    assert next(iter(datasets.load_dataset(name, split="train", streaming=True).skip(100)))["text"] == "line 100"
    made.push_to_hub(name, split="more")
    assert set(datasets.load_dataset(name)) == {"train", "more"}


def transformers_pushes_and_loads_weights() -> None:
    import torch
    import transformers

    name = name_of("llama")
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 8000}
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    model.push_to_hub(name, private=True)
    back = transformers.AutoModelForCausalLM.from_pretrained(name)
    for key, value in model.state_dict().items():
        assert torch.equal(value, back.state_dict()[key]), key
    info = api.model_info(name)
    assert info.siblings and any(file.rfilename == "model.safetensors" for file in info.siblings)
    assert api.get_safetensors_metadata(name).parameter_count["F32"] == sum(value.numel() for value in model.state_dict().values())


def git_clones_and_pushes() -> None:
    name, clone = name_of("folder"), HOME / "clone"
    environment = {
        **os.environ,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(HOME),
        "GIT_CONFIG_GLOBAL": str(HOME / "gitconfig"),
    }

    def git(*command: str, folder: Path = clone) -> str:
        done = subprocess.run(["git", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"git {' '.join(command)}: {done.stderr}"
        return done.stdout.strip()

    (HOME / "credentials").write_text(ENDPOINT.replace("://", f"://user:{TOKEN}@") + "\n")
    for key, value in {
        "credential.helper": f"store --file={HOME / 'credentials'}",
        "user.name": "Mei",
        "user.email": "mei@lantern.invalid",
    }.items():
        git("config", "--global", key, value, folder=HOME)
    lfs = shutil.which("git-lfs") is not None
    if lfs:
        git("lfs", "install", "--skip-repo", folder=HOME)
    git("clone", "-q", f"{ENDPOINT}/datasets/{name}", str(clone), folder=HOME)
    assert git("rev-parse", "HEAD") == api.dataset_info(name).sha
    if not lfs:
        return
    assert content_of(clone) == content_of(Path(snapshot_download(name, repo_type="dataset", local_dir=HOME / "equal")))
    written(clone, {"pushed/by-git.txt": b"by git\n", "pushed/by-lfs.parquet": noise(2 << 20, "lfs")})
    git("add", "-A")
    git("commit", "-qm", "By git")
    git("push", "-q", "origin", "HEAD:main")
    assert git("rev-parse", "HEAD") == api.dataset_info(name).sha
    assert Path(hf_hub_download(name, "pushed/by-lfs.parquet", repo_type="dataset")).read_bytes() == noise(2 << 20, "lfs")


def buckets_keep_files_without_history() -> None:
    name = name_of("bucket")
    api.create_bucket(name, private=True)
    source = written(HOME / "bucket", {"one.bin": noise(1 << 20, "one"), "in/two.txt": b"two\n"})
    api.batch_bucket_files(name, add=[(str(source / path), path) for path in ("one.bin", "in/two.txt")])
    assert {entry.path for entry in api.list_bucket_tree(name, recursive=True)} == {"one.bin", "in/two.txt"}
    api.download_bucket_files(name, [("one.bin", str(HOME / "one.back"))])
    assert (HOME / "one.back").read_bytes() == noise(1 << 20, "one")
    api.delete_bucket(name)


STEPS: list[tuple[Callable[[], None], str]] = [
    (a_repository_by_folder, ""),
    (branches_and_tags, ""),
    (pull_requests_and_discussions, ""),
    (models_in_lists, ""),
    (a_file_system, "fsspec"),
    (pandas_reads_and_writes, "pandas"),
    (datasets_pushes_loads_and_streams, "datasets"),
    (transformers_pushes_and_loads_weights, "transformers"),
    (git_clones_and_pushes, ""),
    (buckets_keep_files_without_history, ""),
]


def main() -> None:
    print(f"huggingface_hub {huggingface_hub.__version__} against {ENDPOINT}")
    failed = []
    try:
        for step, package in STEPS:
            words = step.__name__.replace("_", " ")
            if package and not has(package):
                print(f"  left out: {words} ({package} is not installed)")
            elif step is buckets_keep_files_without_history and not hasattr(api, "create_bucket"):
                print(f"  left out: {words} (this client has no buckets)")
            else:
                try:
                    step()
                    print(f"  {words}", flush=True)
                except Exception:
                    traceback.print_exc()
                    failed.append(words)
                    print(f"  FAILED: {words}", flush=True)
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    print(f"failed: {', '.join(failed)}" if failed else "all as expected")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
