"""What the files of one revision say together: how a model is loaded, how many parameters it has, under which licence it stands."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import islice
from typing import Any

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.git import trees
from lilong.floors.hub.git.trees import Entry, Folder
from lilong.floors.hub.rules import card
from lilong.floors.hub.scan import about, licences
from lilong.floors.hub.store import trust as kept
from lilong.ground.db import Tx
from lilong.ground.errors import NotFound
from lilong.ground.house import House

from . import reading

_CONFIG_LIMIT = 4 << 20  # bytes of a config.json that is read
_INDEX_LIMIT = 64 << 20
_EVALUATIONS = 50  # files of them that are read
_EVALUATION_LIMIT = 256 << 10
_CHAT_LIMIT = 32 << 10  # characters of a chat template; a longer one is left out, for half a template is none
_NAMED = 1000  # files of a dataset whose formats count
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_PART = re.compile(r"(.+)-\d{5}-of-\d{5}\.gguf")


def at_once(house: House, kind: Kind, tree: str, absent: frozenset[str] = frozenset()) -> dict[str, Any]:
    """What follows from the card, config.json and names alone. `absent`: digests of files whose bytes the repository does not have."""
    root = _root(house, tree, absent)
    metadata = _card(house, root)
    found: dict[str, Any] = {}
    if kind is Kind.MODEL:
        document = _json(house, root.get("config.json"), _CONFIG_LIMIT)
        files = [name for name, entry in root.items() if not entry.folder]
        info = about.transformers_info(document, files)
        found["config"] = _with_tokenizer(house, about.config(document), root)
        found["transformersInfo"] = info
        found["library_name"] = _word(metadata, "library_name") or about.library(document, files)
        found["pipeline_tag"] = _word(metadata, "pipeline_tag") or (info or {}).get("pipeline_tag", "")
        found["model-index"] = metadata.get("model-index") if isinstance(metadata.get("model-index"), list) else None
        tags = about.model_tags(document, files, info)
    else:
        tags = []
    licence = _licence(house, root, metadata)
    if licence.text and not licence.card:
        tags.append(f"license:{licence.text}")
    found["licence"] = (
        {"card": licence.card, "text": licence.text, "file": licence.file, "conflict": licence.conflict}
        if licence.card or licence.file
        else None
    )
    whole: dict[str, Any] = plain({**{key: value for key, value in found.items() if value}, "tags": tags})
    return whole


def worked_out(house: House, kind: Kind, tree: str, absent: frozenset[str] = frozenset()) -> dict[str, Any]:
    """All of it; the scans of the files in the root are done."""
    found = at_once(house, kind, tree, absent)
    if kind is Kind.MODEL:
        root = _root(house, tree, absent)
        found |= {key: plain(value) for key, value in (("safetensors", _safetensors(house, root)), ("gguf", _gguf(house, root))) if value}
        evaluations = _evaluations(house, root, absent)
        if evaluations:
            found["evalResults"] = plain(evaluations)
    else:
        found["tags"] = [*about.dataset_tags(house.db.read(lambda tx: [path for path, _ in _first_files(tx, tree)])), *found["tags"]]
    return found


def plain(value: Any) -> Any:
    """As every database and every JSON can hold it: a file may say anything."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _root(house: House, tree: str, absent: frozenset[str]) -> Folder:
    """A folder; its files that are absent have no digest by which they could be read."""
    folder = house.db.read(lambda tx: reading.loader(tx)(tree)) if tree != trees.EMPTY else {}
    if not absent:
        return folder
    return {name: replace(entry, digest="") if entry.digest in absent else entry for name, entry in folder.items()}


def _read(house: House, entry: Entry | None, limit: int) -> bytes:
    """A small file of a revision; empty where there is none, or where it is larger."""
    if entry is None or entry.folder or not entry.digest or entry.size > limit:
        return b""
    try:
        return house.blobs.read(entry.digest)
    except NotFound:
        return b""


def _json(house: House, entry: Entry | None, limit: int) -> Any:
    try:
        return json.loads(_read(house, entry, limit) or b"null")
    except (ValueError, RecursionError):
        return None


def _card(house: House, root: Folder) -> dict[str, Any]:
    return dict(card.read(_read(house, root.get(card.PATH), card.LIMIT).decode(errors="replace")).metadata)


def _word(metadata: dict[str, Any], key: str) -> str:
    value = metadata.get(key)
    return value[:200] if isinstance(value, str) else ""


def _with_tokenizer(house: House, config: dict[str, Any], root: Folder) -> dict[str, Any]:
    """With the chat template and the special tokens, as the public Hub shows them."""
    tokenizer = _json(house, root.get("tokenizer_config.json"), _CONFIG_LIMIT)
    if not isinstance(tokenizer, dict):
        return config
    kept_words: dict[str, Any] = {}
    for key in ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template"):
        value = tokenizer.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str) and len(value) <= _CHAT_LIMIT:
            kept_words[key] = value
    if "chat_template" not in kept_words and (template := _read(house, root.get("chat_template.jinja"), _CHAT_LIMIT)):
        kept_words["chat_template"] = template.decode(errors="replace")
    return {**config, "tokenizer_config": kept_words} if kept_words else config


def _licence(house: House, root: Folder, metadata: dict[str, Any]) -> licences.Licence:
    said = metadata.get("license")
    said = said if isinstance(said, str) else said[0] if isinstance(said, list) and said and isinstance(said[0], str) else ""
    name = next((name for name in sorted(root) if licences.is_licence_file(name) and not root[name].folder), "")
    text = _read(house, root.get(name), licences.LIMIT).decode(errors="replace") if name else ""
    return licences.judged(said[:100], name, text)


def _first_files(tx: Tx, tree: str) -> list[tuple[str, Entry]]:
    if tree == trees.EMPTY:
        return []
    return list(islice(trees.walk(reading.loader(tx), tree, prefix="", recursive=True, after=""), _NAMED))


# --- weights ------------------------------------------------------------------------------------------------------------


def _weights(house: House, root: Folder, names: list[str]) -> dict[str, dict[str, Any]]:
    digests = {name: root[name].digest for name in names}
    found = house.db.read(lambda tx: kept.status_of(tx, digests.values()))
    return {
        name: found[digest].found["weights"] for name, digest in digests.items() if digest in found and "weights" in found[digest].found
    }


def _safetensors(house: House, root: Folder) -> dict[str, Any] | None:
    """Of the model itself: the one file, the shards that the index names, or else all in the root folder."""
    names = sorted(name for name, entry in root.items() if name.endswith(".safetensors") and not entry.folder)
    if SINGLE in names:
        names = [SINGLE]
    elif INDEX in root:
        index = _json(house, root.get(INDEX), _INDEX_LIMIT)
        mapped = index.get("weight_map") if isinstance(index, dict) else None
        shards = {shard for shard in mapped.values() if isinstance(shard, str)} if isinstance(mapped, dict) else set()
        names = [name for name in names if name in shards] or names
    parameters: dict[str, int] = {}
    for weights in _weights(house, root, names).values():
        for dtype, count in weights["parameters"].items():
            parameters[dtype] = parameters.get(dtype, 0) + count
    return {"parameters": parameters, "total": _bounded(sum(parameters.values()))} if parameters else None


def _gguf(house: House, root: Folder) -> dict[str, Any] | None:
    """Of the first GGUF by name, with all of its parts."""
    names = sorted(name for name, entry in root.items() if name.endswith(".gguf") and not entry.folder)
    if not names:
        return None
    part = _PART.fullmatch(names[0])
    group = [name for name in names if (other := _PART.fullmatch(name)) and other[1] == part[1]] if part else names[:1]
    found = _weights(house, root, group)
    if not found:
        return None
    words = next(iter(found.values()))["words"]
    words = {key: value for key, value in words.items() if isinstance(value, int) or (isinstance(value, str) and len(value) <= _CHAT_LIMIT)}
    return {"total": _bounded(sum(weights["total"] for weights in found.values())), **words}


def _bounded(number: int) -> int:
    return min(number, (1 << 63) - 1)  # what a database can hold; a header may claim more


def _evaluations(house: House, root: Folder, absent: frozenset[str]) -> list[dict[str, Any]]:
    """The entries of `.eval_results/*.yaml`."""
    entry = root.get(".eval_results")
    if entry is None or not entry.folder:
        return []
    folder = _root(house, entry.id, absent)
    results: list[dict[str, Any]] = []
    for name in sorted(name for name in folder if name.endswith((".yaml", ".yml")))[:_EVALUATIONS]:
        try:
            document = card.document(_read(house, folder[name], _EVALUATION_LIMIT).decode(errors="replace"))
        except card.BadCard:
            continue
        results += about.evaluations(document)
    return results[:1000]
