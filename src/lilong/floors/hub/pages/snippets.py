"""Lines to copy: how a repository is used with the programs that people have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lilong.floors.hub.contract import Kind

_TABLES = {".parquet": "parquet", ".csv": "csv", ".jsonl": "json", ".ndjson": "json"}
_CHAT = ("text-generation", "image-text-to-text")


@dataclass(frozen=True, slots=True)
class Snippet:
    title: str
    code: str


def of(
    kind: Kind, name: str, paths: Collection[str], metadata: Mapping[str, Any], facts: Mapping[str, Any], here: str, *, private: bool
) -> list[Snippet]:
    """`here`: this house's address. The first line that every program needs comes with the first snippet."""
    first = f"export HF_ENDPOINT={here}" + ("\nexport HF_TOKEN=…" if private else "")
    path = f"datasets/{name}" if kind is Kind.DATASET else name
    found = [Snippet("hf", f"{first}\nhf download {name}{' --repo-type dataset' if kind is Kind.DATASET else ''}")]
    found += _of_dataset(name, paths, here) if kind is Kind.DATASET else _of_model(name, paths, metadata, facts)
    found.append(Snippet("git", f"git lfs install\ngit clone {here}/{path}"))
    return found


def _of_model(name: str, paths: Collection[str], metadata: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Snippet]:
    found = []
    task = str(metadata.get("pipeline_tag") or facts.get("pipeline_tag") or "")
    weights = any(path.endswith(".safetensors") for path in paths)
    config = "config.json" in paths
    adapter = "adapter_config.json" in paths
    if config and weights:
        found.append(Snippet("transformers", _transformers(name, task or "text-generation", facts)))
    if adapter:
        code = f'from peft import AutoPeftModelForCausalLM\n\nmodel = AutoPeftModelForCausalLM.from_pretrained("{name}")'
        found.append(Snippet("peft", code))
    if config and weights and (task in _CHAT or not task):
        found.append(Snippet("vLLM", f"vllm serve {name}"))
    if ggufs := sorted(path for path in paths if path.endswith(".gguf")):
        found.append(Snippet("llama.cpp", f'llama-cli --hf-repo {name} --hf-file {ggufs[0]} -p "Hello"'))
    if not (config or adapter or ggufs):
        code = f'from huggingface_hub import snapshot_download\n\nfolder = snapshot_download("{name}")'
        found.append(Snippet("huggingface_hub", code))
    return found


def _transformers(name: str, task: str, facts: Mapping[str, Any]) -> str:
    info = facts.get("transformersInfo") or {}
    model = info.get("auto_model") if isinstance(info, Mapping) else None
    if isinstance(model, str) and model.isidentifier():
        return f'from transformers import AutoTokenizer, {model}\n\ntokenizer = AutoTokenizer.from_pretrained("{name}")\nmodel = {model}.from_pretrained("{name}")'
    return f'from transformers import pipeline\n\npipe = pipeline("{task}", model="{name}")'


def _of_dataset(name: str, paths: Collection[str], here: str) -> list[Snippet]:
    found = [Snippet("datasets", f'from datasets import load_dataset\n\ndata = load_dataset("{name}")')]
    tables = sorted((suffix, path) for path in paths for suffix in _TABLES if path.lower().endswith(suffix))
    if tables:
        suffix, path = sorted(tables, key=lambda table: list(_TABLES).index(table[0]))[0]
        read = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}[_TABLES[suffix]]
        more = ", lines=True" if _TABLES[suffix] == "json" else ""
        found.append(Snippet("pandas", f'import pandas as pd\n\ntable = pd.{read}("hf://datasets/{name}/{path}"{more})'))
        function = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}[_TABLES[suffix]]
        found.append(
            Snippet(
                "DuckDB", f"SELECT * FROM {function}('{here}/datasets/{name}/resolve/main/{path.replace(chr(39), chr(39) * 2)}') LIMIT 10;"
            )
        )
    return found


def gateway(served: str, here: str) -> Snippet:
    """For a model that the house itself serves."""
    body = f'{{"model": "{served}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    return Snippet(
        "API",
        f"curl {here}/v1/chat/completions -H \"Authorization: Bearer $LILONG_TOKEN\" \\\n  -H 'content-type: application/json' -d '{body}'",
    )
