"""What is found in the files of a revision, and where the real client sees it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import EvalResultEntry, HfApi, eval_result_entries_to_yaml
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RepositoryNotFoundError

from tests.conftest import deliver_all

from .conftest import LANTERN, Served

Api = Callable[[str | None], HfApi]
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64}
MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person obtaining a copy of this software …\nTHE SOFTWARE IS PROVIDED “AS IS”"


@pytest.fixture
def api(served: Served) -> Api:
    def of(user: str | None) -> HfApi:
        return HfApi(endpoint=served.url, token=served.tokens[user] if user else False)

    return of


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return f"{LANTERN}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def safetensors(**tensors: tuple[str, list[int], int]) -> bytes:
    """name=(dtype, shape, bytes)."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for key, (dtype, shape, size) in tensors.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + os.urandom(at)


def gguf(path: Path) -> bytes:
    import numpy
    from gguf import GGUFWriter

    writer = GGUFWriter(path, "llama")
    writer.add_context_length(4096)
    writer.add_token_list(["a", "b", "c"])
    writer.add_chat_template("{{ messages }}")
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 8), dtype=numpy.float32))
    writer.add_tensor("output.weight", numpy.zeros((2, 8), dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def commit(api: HfApi, name: str, files: dict[str, bytes], kind: str = "model") -> str:
    from huggingface_hub import CommitOperationAdd

    api.create_repo(name, repo_type=kind, exist_ok=True)
    operations = [CommitOperationAdd(path, io.BytesIO(content)) for path, content in files.items()]
    oid: str = api.create_commit(name, operations, commit_message="Add files", repo_type=kind).oid
    return oid


def scanned(served: Served) -> None:
    deliver_all(served.house)


def asked(served: Served, path: str, user: str = "mei", method: str = "GET") -> dict[str, Any]:
    request = urllib.request.Request(f"{served.url}{path}", method=method, headers={"authorization": f"Bearer {served.tokens[user]}"})
    with urllib.request.urlopen(request) as answer:
        value: dict[str, Any] = json.load(answer)
        return value


def test_model_info_counts_parameters_by_type(api: Api, name: str, served: Served) -> None:
    weights = safetensors(a=("F32", [4, 8], 128), b=("BF16", [3], 6), c=("F32", [], 4))
    commit(
        api("mei"),
        name,
        {"model.safetensors": weights, "other.safetensors": safetensors(x=("I8", [5], 5)), "config.json": json.dumps(CONFIG).encode()},
    )
    scanned(served)
    info = api("ada").model_info(name)
    assert info.safetensors == {"parameters": {"F32": 33, "BF16": 3}, "total": 36}
    assert {"safetensors", "transformers", "llama", "text-generation"} <= set(info.tags or [])


def test_the_shards_of_an_index_count_together(api: Api, name: str, served: Served) -> None:
    one, two = safetensors(a=("F16", [2, 2], 8)), safetensors(b=("F16", [3], 6))
    index = {"metadata": {"total_size": 14}, "weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {"model-1.safetensors": one, "model-2.safetensors": two, "adapter.safetensors": safetensors(z=("F16", [9], 18))}
    commit(api("mei"), name, {**files, "model.safetensors.index.json": json.dumps(index).encode()})
    scanned(served)
    assert api("ada").model_info(name).safetensors == {"parameters": {"F16": 7}, "total": 7}
    parsed = api("ada").get_safetensors_metadata(name)
    at_once = api("ada").get_sharded_safetensors_metadata(name)
    assert parsed.weight_map == at_once.weight_map == index["weight_map"]
    assert at_once.files_metadata == parsed.files_metadata
    assert at_once.metadata == {"total_size": 14}


def test_a_gguf_says_what_it_is(api: Api, name: str, served: Served, tmp_path: Path) -> None:
    commit(api("mei"), name, {"tide.gguf": gguf(tmp_path / "tide.gguf")})
    scanned(served)
    info = api("ada").model_info(name, expand=["gguf", "tags"])
    assert info.gguf == {"total": 48, "architecture": "llama", "context_length": 4096, "chat_template": "{{ messages }}"}
    assert "gguf" in (info.tags or [])


def test_how_transformers_loads_it_is_told_before_any_scan(api: Api, name: str) -> None:
    files = {
        "config.json": json.dumps(CONFIG).encode(),
        "tokenizer_config.json": b'{"eos_token": {"content": "</s>"}, "chat_template": "x"}',
    }
    commit(api("mei"), name, files)
    info = api("ada").model_info(name)
    assert info.transformers_info == {
        "auto_model": "AutoModelForCausalLM", "custom_class": None, "pipeline_tag": "text-generation", "processor": "AutoTokenizer",
    }  # fmt: skip
    assert (info.library_name, info.pipeline_tag) == ("transformers", "text-generation")
    assert info.config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "tokenizer_config": {"eos_token": "</s>", "chat_template": "x"},
    }


def test_what_the_card_says_goes_before_what_is_derived(api: Api, name: str, served: Served) -> None:
    card = b"---\nlibrary_name: keras\npipeline_tag: fill-mask\nmodel-index: [{name: tide, results: []}]\n---\n"
    commit(api("mei"), name, {"config.json": json.dumps(CONFIG).encode(), "README.md": card})
    scanned(served)
    info = api("ada").model_info(name)
    assert (info.library_name, info.pipeline_tag, info.model_index) == ("keras", "fill-mask", [{"name": "tide", "results": []}])


def test_evaluation_results_are_read_from_their_folder(api: Api, name: str, served: Served) -> None:
    import yaml

    entries = [EvalResultEntry(dataset_id="harbour-lab/quiz", task_id="default", value=20.9, date="2026-11-01")]
    text = yaml.safe_dump(eval_result_entries_to_yaml(entries)).encode()
    commit(api("mei"), name, {".eval_results/quiz.yaml": text, ".eval_results/odd.yaml": b"a: &x [*x]", "a.txt": b"a"})
    scanned(served)
    assert api("ada").model_info(name).eval_results == entries


def test_a_dataset_takes_any_pickle_and_flags_it(api: Api, name: str, served: Served) -> None:
    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, ("true",)

    files = {
        "deep/bad.pkl": pickle.dumps(Bad()),
        "good.pkl": pickle.dumps({"a": [1, 2]}),
        "bad-without-name": pickle.dumps(Bad()),
        "data/a.csv": b"a\n1\n",
    }
    before = commit(api("mei"), name, files, "dataset")
    assert api("ada").get_paths_info(name, ["good.pkl"], repo_type="dataset", expand=True)[0].security.status == "queued"
    scanned(served)
    entries = {
        e.path: e for e in api("ada").list_repo_tree(name, repo_type="dataset", expand=True, recursive=True) if hasattr(e, "blob_id")
    }
    assert {path: entry.security.status for path, entry in entries.items()} == {
        ".gitattributes": "safe", "data/a.csv": "safe", "good.pkl": "safe", "deep/bad.pkl": "unsafe", "bad-without-name": "unsafe",
    }  # fmt: skip
    scan = entries["deep/bad.pkl"].security.pickle_import_scan
    assert scan["pickleImports"] == [{"module": "posix", "name": "system", "safety": "dangerous"}]
    assert entries["good.pkl"].security.safe
    paths = api("ada").get_paths_info(name, ["deep/bad.pkl"], repo_type="dataset", revision=before, expand=True)
    assert paths[0].security.pickle_import_scan == scan
    status = asked(served, f"/api/datasets/{name}?securityStatus=true")["securityRepoStatus"]
    assert status == {
        "scansDone": True,
        "filesWithIssues": [{"path": "bad-without-name", "level": "unsafe"}, {"path": "deep/bad.pkl", "level": "unsafe"}],
    }
    assert "format:csv" in (api("ada").dataset_info(name).tags or [])


def test_a_model_takes_a_state_dict_and_refuses_any_other_pickle_by_name_of_what_it_imports(api: Api, name: str, served: Served) -> None:
    torch = pytest.importorskip("torch")
    fine, bad = io.BytesIO(), io.BytesIO()
    torch.save({"w": torch.ones(3)}, fine)
    torch.save(torch.nn.Linear(2, 2), bad)
    commit(api("mei"), name, {"pytorch_model.bin": fine.getvalue()})
    scanned(served)
    tree = {entry.path: entry for entry in api("ada").list_repo_tree(name, expand=True)}
    assert tree["pytorch_model.bin"].security.safe  # type: ignore[union-attr]
    assert tree["pytorch_model.bin"].security.pickle_import_scan["highestSafetyLevel"] == "innocuous"  # type: ignore[union-attr]
    with pytest.raises(HfHubHTTPError, match=r"torch\.nn\.modules\.linear\.Linear") as refused:
        commit(api("mei"), name, {"whole.bin": bad.getvalue()})
    assert refused.value.response.status_code == 422


def test_a_secret_is_told_by_line_and_never_kept(api: Api, name: str, served: Served) -> None:
    secret = "hf_" + "qWeRtYuIoPaSdFgHjKlZxCvBnM9876543"[:34]
    commit(api("mei"), name, {"train.py": f"import os\n\nTOKEN = '{secret}'\n".encode()})
    scanned(served)
    report = asked(served, f"/api/models/{name}/scan/main")
    assert [(file["path"], file["securityFileStatus"]["secretScan"]) for file in report["files"]] == [
        ("train.py", {"status": "caution", "findings": [{"rule": "hugging-face-token", "line": 3}]})
    ]
    kept = served.house.db.read(
        lambda tx: [str(dict(row)) for table in ("hub_scans", "hub_facts", "hub_folder_scans") for row in tx.rows(f"SELECT * FROM {table}")]
    )
    assert not [row for row in kept if secret in row]


def test_a_card_and_a_licence_file_that_disagree_are_named(api: Api, name: str, served: Served) -> None:
    commit(api("mei"), name, {"README.md": b"---\nlicense: apache-2.0\n---\n", "LICENSE": MIT.encode()})
    scanned(served)
    licence = asked(served, f"/api/models/{name}/scan/main")["facts"]["licence"]
    assert licence == {
        "card": "apache-2.0",
        "text": "mit",
        "file": "LICENSE",
        "conflict": "the card says apache-2.0, and LICENSE is the text of mit",
    }


def test_a_content_is_scanned_once_for_all_places(api: Api, name: str, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.hub.scan import content

    scanned(served)
    looked: list[int] = []
    look = content.look
    monkeypatch.setattr(content, "look", lambda file, size, named: (looked.append(size), look(file, size, named))[1])
    unique = os.urandom(8).hex().encode()
    commit(api("mei"), name, {"a.txt": b"first" + unique, "b.txt": b"first" + unique, "c/a.txt": b"first" + unique})
    scanned(served)
    commit(api("mei"), name, {"d.txt": b"second!" + unique})
    commit(api("mei"), name + "-copy", {"d.txt": b"second!" + unique}, "dataset")
    scanned(served)
    assert sorted(size for size in looked if size in (21, 23)) == [21, 23]


def test_a_scan_may_be_asked_for_by_whoever_may_write(api: Api, name: str, served: Served) -> None:
    scanned(served)
    commit(api("mei"), name, {"a.txt": b"a"})
    assert asked(served, f"/api/models/{name}/scan/main")["scansDone"] is False
    with pytest.raises(urllib.error.HTTPError, match="403"):
        asked(served, f"/api/models/{name}/scan/main", "ada", "POST")
    assert asked(served, f"/api/models/{name}/scan/main", "mei", "POST")["scansDone"] is True


def test_private_foreign_and_missing_look_the_same_here_too(api: Api, name: str, served: Served) -> None:
    api("mei").create_repo(name, private=True)
    for path in ("scan/main", "signature/main", "safetensors-metadata/model.safetensors"):
        for repository in (name, f"{LANTERN}/nothing"):
            with pytest.raises(urllib.error.HTTPError, match="404"):
                asked(served, f"/api/models/{repository}/{path}", "tom")
    with pytest.raises(RepositoryNotFoundError):
        api("tom").get_sharded_safetensors_metadata(name)


def test_a_broken_index_is_told_with_400(api: Api, name: str) -> None:
    commit(api("mei"), name, {"model.safetensors.index.json": b"[1]", "a.txt": b"a"})
    with pytest.raises(BadRequestError, match="weight_map"):
        api("mei").get_sharded_safetensors_metadata(name)


def test_the_tool_of_openssf_accepts_a_revision_with_its_signature(api: Api, name: str, served: Served, tmp_path: Path) -> None:
    oid = commit(api("mei"), name, {"model.safetensors": safetensors(a=("F32", [2], 8)), "deep/notes.md": b"notes"})
    made = asked(served, f"/api/models/{name}/signature/{oid}")
    folder = Path(api("ada").snapshot_download(name, revision=oid, local_dir=tmp_path / "model"))
    (tmp_path / "model.sig").write_text(made["signature"])
    (tmp_path / "model.pub").write_text(made["public_key"])

    def verify() -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-m", "model_signing", "verify", "key", str(folder), "--signature", str(tmp_path / "model.sig"),
                "--public_key", str(tmp_path / "model.pub"), *(w for p in (".gitattributes", ".cache") for w in ("--ignore-paths", str(folder / p)))]  # fmt: skip
        return subprocess.run(argv, capture_output=True, check=False)

    fine = verify()
    assert fine.returncode == 0, fine.stderr + fine.stdout
    (folder / "deep/notes.md").write_text("other")
    assert verify().returncode != 0


def test_the_tables_work_on_both_databases(tmp_path: Path, database_url: str) -> None:
    from lilong.floors.hub import service
    from lilong.floors.hub.contract import Kind
    from lilong.floors.hub.service import commits, trust
    from lilong.ground.access import Actor

    from .conftest import hub_house

    house, mei = hub_house(tmp_path / "house", database_url), Actor("mei")
    try:
        name = f"{LANTERN}/tables"
        service.create(house, mei, Kind.DATASET, name, private=False)
        puts = {
            path: service.kept(house, content)
            for path, content in {"a.pkl": b"cos\nsystem\n.", "b/c.txt": b"fine", "LICENSE": MIT.encode()}.items()
        }
        service.commit(house, mei, Kind.DATASET, name, "main", commits.Ask(puts, "Add files"))
        assert deliver_all(house) > 0
        report = trust.report(house, mei, Kind.DATASET, name, "main", now=True)
        assert [(file["path"], file["securityFileStatus"]["status"]) for file in report["files"]] == [("a.pkl", "unsafe")]
        assert report["facts"]["tags"] == ["format:text", "license:mit"]
        assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_tags")) == 2
        assert house.db.read(lambda tx: tx.value("SELECT COUNT(*) FROM hub_scans")) == 4
    finally:
        house.close()


def test_a_file_that_has_not_come_yet_is_scanned_when_it_has(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lilong.floors.hub import service
    from lilong.floors.hub.contract import Kind
    from lilong.floors.hub.service import commits, trust
    from lilong.ground.access import Actor
    from lilong.ground.errors import NotFound

    name, mei = f"{LANTERN}/late", Actor("mei")
    service.create(house, mei, Kind.DATASET, name, private=False)
    put = service.kept(house, b"cos\nsystem\n.")
    service.commit(house, mei, Kind.DATASET, name, "main", commits.Ask({"a.pkl": put}, "Add a file"))
    there = house.blobs.open

    def away(digest: str) -> Any:
        if digest == put.digest:
            raise NotFound(kind="blob", name=digest)
        return there(digest)

    monkeypatch.setattr(house.blobs, "open", away)
    deliver_all(house)
    assert trust.report(house, mei, Kind.DATASET, name, "main")["scansDone"] is False
    monkeypatch.setattr(house.blobs, "open", there)
    assert [file["path"] for file in trust.report(house, mei, Kind.DATASET, name, "main", now=True)["files"]] == ["a.pkl"]


def test_a_status_does_not_tell_what_others_have(api: Api, name: str, served: Served) -> None:
    """The same bytes in a private repository were scanned long ago; whoever commits them anew sees them queued like any others."""
    content = os.urandom(8).hex().encode()
    api("mei").create_repo(name, repo_type="dataset", private=True)
    commit(api("mei"), name, {"a.txt": content}, "dataset")
    scanned(served)
    other = "harbour-lab/" + name.partition("/")[2]
    commit(api("tom"), other, {"a.txt": content}, "dataset")
    assert api("tom").get_paths_info(other, ["a.txt"], repo_type="dataset", expand=True)[0].security.status == "queued"
    scanned(served)
    assert api("tom").get_paths_info(other, ["a.txt"], repo_type="dataset", expand=True)[0].security.status == "safe"
    api("tom").delete_repo(other, repo_type="dataset")


def test_what_a_file_says_of_itself_may_be_anything(tmp_path: Path, database_url: str) -> None:
    from lilong.floors.hub import service
    from lilong.floors.hub.contract import Kind
    from lilong.floors.hub.service import commits, trust
    from lilong.ground.access import Actor

    from .conftest import hub_house

    header = json.dumps({"w": {"dtype": "\ud800\0", "shape": [1 << 61, 1 << 61, 0], "data_offsets": [0, 0]}}).encode()
    files = {
        "config.json": b'{"architectures": ["\\ud800\\u0000ForCausalLM", 1, null], "model_type": "\\u0000", "auto_map": {"\\udfff": "x"}, "x": NaN}',
        "tokenizer_config.json": b'{"eos_token": "\\udfff", "chat_template": [1]}',
        "model.safetensors": len(header).to_bytes(8, "little") + header,
        "model.safetensors.index.json": b"[[[]]]",
        ".eval_results/a.yaml": b"- dataset: {id: a, task_id: b}\n  value: .nan\n",
    }
    house, mei = hub_house(tmp_path / "house", database_url), Actor("mei")
    try:
        service.create(house, mei, Kind.MODEL, f"{LANTERN}/odd", private=False)
        puts = {path: service.kept(house, content) for path, content in files.items()}
        service.commit(house, mei, Kind.MODEL, f"{LANTERN}/odd", "main", commits.Ask(puts, "Add files"))
        deliver_all(house)
        report = trust.report(house, mei, Kind.MODEL, f"{LANTERN}/odd", "main")
        assert report["scansDone"]
        json.dumps(report, allow_nan=False).encode()
        assert house.db.read(lambda tx: tx.rows("SELECT * FROM ground_parked")) == []
    finally:
        house.close()


def test_a_file_that_breaks_the_reader_is_flagged_and_holds_up_nobody(
    api: Api, name: str, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lilong.floors.hub.scan import content

    scanned(served)

    def breaks(*_: object) -> Any:
        raise RecursionError("too deep")

    with monkeypatch.context() as patched:
        patched.setattr(content, "look", breaks)
        commit(api("mei"), name, {"a.txt": os.urandom(8).hex().encode()})
        scanned(served)
    assert api("ada").get_paths_info(name, ["a.txt"], expand=True)[0].security.status == "caution"


def test_names_that_are_no_text_are_shown_all_the_same(api: Api, name: str, served: Served) -> None:
    header = json.dumps({"\ud800": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}).encode()
    index = json.dumps({"weight_map": {"x": "one.safetensors"}, "metadata": {"a": "\udfff"}}).encode()
    commit(
        api("mei"), name, {"one.safetensors": len(header).to_bytes(8, "little") + header + bytes(4), "model.safetensors.index.json": index}
    )
    assert asked(served, f"/api/models/{name}/safetensors-metadata/model.safetensors.index.json")["index"] == {"metadata": {"a": "?"}}
    odd = b"\x80\x04\x8c\x03\xed\xa0\x80\x8c\x01x\x93."
    commit(api("mei"), name + "-data", {"odd.pkl": odd}, "dataset")
    scanned(served)
    shown = api("ada").get_paths_info(name + "-data", ["odd.pkl"], repo_type="dataset", expand=True)[0].security
    assert shown.pickle_import_scan["pickleImports"] == [{"module": "?", "name": "x", "safety": "dangerous"}]
