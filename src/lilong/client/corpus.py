"""The corpus floor through the client."""

from __future__ import annotations

import json
import os
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lilong.client import Client
from lilong.floors.corpus.contract import Datasheet, SourceSet, State, Text, Version
from lilong.floors.corpus.curation.formats import DECLARATION, EVIDENCE, MAX_FILE, text_format
from lilong.floors.corpus.curation.licences import spdx
from lilong.ground.errors import BadInput, Refused

Made = TypeVar("Made", SourceSet, Version)


class NotMade(Refused):
    """{name} was not made: {reason}"""


def keep_folder(client: Client, organisation: str, folder: Path, declared: bytes = b"") -> dict[str, str]:
    """Upload a folder's texts and what says their licence; path -> digest, as `sources` takes it. Links and files of other kinds
    are left out. Idempotent. `declared`: a licences.toml for a folder that has none. Raises BadInput."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink() and _wanted(path)]
    if not files:
        raise BadInput(
            field="texts", problem=f"{folder} holds no texts", way_out="Put .txt, .md, .rst or .html files in it, or manual pages in man1, man2 …, and a LICENSE."
        )
    for path in files:
        if path.stat().st_size > MAX_FILE:
            raise BadInput(
                field="texts", problem=f"{path} is larger than {MAX_FILE >> 20} MiB", way_out="Split it, or move it out of the folder."
            )
        shown = os.fsencode(path).decode("utf-8", "replace")
        if shown != str(path):
            raise BadInput(field="texts", problem=f"the name of {shown} is not UTF-8", way_out="Give it another name.")
    kept = {}
    for path in files:
        kept[path.relative_to(folder).as_posix()] = keep_bytes(client, organisation, path.read_bytes())
    return kept | ({DECLARATION: keep_bytes(client, organisation, declared)} if declared else {})


def declaration(folder: Path, *, name: str = "", licence: str = "", statement: str = "") -> bytes:
    """The licences.toml of a folder that is to be one source; empty where the folder has one of its own.

    `name`: the folder's where it is left out. `licence` (SPDX): what is recognised in the evidence. `statement`: the text that says so, the
    LICENSE in the folder where it is left out. Raises BadInput.
    """
    if (folder / DECLARATION).exists():
        if name or licence or statement:
            field = "name" if name else "licence" if licence else "statement"
            way_out = f"Say it in {folder / DECLARATION}, or take that file away."
            raise BadInput(field=field, problem=f"the folder's {DECLARATION} says what its sources are", way_out=way_out)
        return b""
    called = name or re.sub(r"[^\w.-]+", "-", folder.resolve().name).strip("-.")[:80] or "texts"
    if not re.fullmatch(r"[\w.-]{1,80}", called):
        raise BadInput(field="name", problem=f"{called[:100]!r} is no name of a source", way_out="Use letters, digits, and . _ -.")
    if licence and spdx(licence) is None:
        way_out = "Use one such as CC-BY-4.0, or LicenseRef-<name>."
        raise BadInput(field="licence", problem=f"{licence[:80]!r} is not an SPDX expression", way_out=way_out)
    if not statement.strip() and not any(EVIDENCE.fullmatch(path.name) for path in folder.iterdir() if path.is_file()):
        way_out = "Put a LICENSE file in the folder, or give --evidence FILE or --statement TEXT."
        raise BadInput(field="licence", problem="nothing says under which licence the texts are", way_out=way_out)
    said = {"path": ".", "licence": licence, "statement": statement.strip()}
    lines = [f"[sources.{_quoted(called)}]", *(f"{key} = {_quoted(value)}" for key, value in said.items() if value)]
    return "\n".join([*lines, ""]).encode()


def _quoted(text: str) -> str:
    """A basic string of TOML is one of JSON, but for U+007F."""
    return json.dumps(text).replace("\x7f", "\\u007F")


def keep_bytes(client: Client, organisation: str, content: bytes) -> str:
    """Upload one text; its digest. Idempotent."""
    _, answer = client.send("POST", "/api/corpus/texts", content, {"organisation": organisation})
    return _text(answer).digest


def _wanted(path: Path) -> bool:
    return text_format(path.as_posix()) is not None or path.name == DECLARATION or EVIDENCE.fullmatch(path.name) is not None


def _text(answer: bytes) -> Text:
    import msgspec

    return msgspec.json.decode(answer, type=Text)


def fetch(
    client: Client,
    *,
    organisation: str,
    key: str,
    packages: Sequence[str] = (),
    texts: Mapping[str, str] | None = None,
    fallback: bool = True,
    contributor: str = "",
    terms: str = "private",
    conditions: Mapping[str, Any] | None = None,
) -> SourceSet:
    """Ask for sources; the same key answers the same set. `terms`: private, alliance or public; `conditions` as contract.Conditions."""
    ask = {
        "organisation": organisation,
        "key": key,
        "packages": list(packages),
        "texts": dict(texts) if texts else None,
        "fallback": fallback,
        "contributor": contributor,
        "terms": terms,
        "conditions": dict(conditions or {}),
    }
    return client.post("/api/corpus/sources", ask, SourceSet)


def source_set(client: Client, identity: str) -> SourceSet:
    return client.get(f"/api/corpus/sources/{identity}", SourceSet)


def source_sets(client: Client) -> list[SourceSet]:
    return client.get("/api/corpus/sources", list[SourceSet])


def wait(client: Client, made: Made, told: Callable[[str], None] = lambda state: None) -> Made:
    """A source set or version once it is done; `told` is called for each state that it is in. Raises NotMade."""
    look: Callable[[Client, str], Any] = source_set if isinstance(made, SourceSet) else version
    last = None
    while True:
        if made.state is State.FAILED:
            raise NotMade(name=made.id, reason=made.error or "it failed")
        if made.state is State.DONE:
            return made
        if made.state is not last:
            told(made.state.value)
        last = made.state
        time.sleep(0.5)
        made = look(client, made.id)


def read_recipe(file: Path) -> dict[str, Any]:
    """Raises BadInput."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise BadInput(field="recipe", problem=f"{file} is not TOML: {problem}", way_out="Correct the file.") from None


def build(
    client: Client, *, organisation: str, key: str, sources: str | Sequence[str], repository: str, recipe: Mapping[str, Any] | None = None
) -> Version:
    """Ask for a corpus version; the same key answers the same one."""
    named = sources if isinstance(sources, str) else list(sources)
    ask = {"organisation": organisation, "key": key, "sources": named, "repository": repository, "recipe": dict(recipe or {})}
    return client.post("/api/corpus/versions", ask, Version)


def version(client: Client, name: str) -> Version:
    """`name`: an id, organisation/name, or organisation/name@commit."""
    return client.get(f"/api/corpus/versions/{name}", Version)


def versions(client: Client, repository: str | None = None) -> list[Version]:
    return client.get("/api/corpus/versions", list[Version], repository=repository)


def datasheet(client: Client, name: str) -> Datasheet:
    return client.get(f"/api/corpus/datasheets/{name}", Datasheet)
