"""What an operator declares of a Ray cluster, under `[sites.NAME.options]`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilong.floors.compute.backends.rest import check_private, unfit
from lilong.floors.compute.rules.reading import Reader
from lilong.ground.sandbox import Level


@dataclass(frozen=True, slots=True)
class Options:
    url: str  # of the head's dashboard
    folder: Path  # of the run folders: the same path in the house and on every node
    token_file: Path | None = None  # holds the cluster's authentication token
    ca_file: Path | None = None  # that the dashboard's certificate is checked against
    devices: Mapping[str, str] = field(
        default_factory=dict
    )  # class -> Ray resource: GPU, GPU:H20 (an accelerator_type), or one of the operator's own
    levels: Mapping[str, str] = field(default_factory=dict)  # level of the topology -> node label
    spread: bool = False  # whether each task of a gang has to have a node of its own
    vendors: Mapping[str, str] = field(default_factory=dict)  # class -> vendor, for the files and variables of its devices
    sandbox: str = ""  # the least level on the nodes; "": the house's own setting
    python: str = "python3"  # on the nodes, with Ray in it; 3.11 or later
    program: str = ""  # PYTHONPATH on the nodes; "": a copy of the house's code, laid into the folder


def read(site: str, options: Mapping[str, Any]) -> Options:
    """Raises BadInput, which names the key."""
    table = Reader(options, f"sites.{site}.options")
    url, folder = table.text("url"), table.text("folder")
    if problem := unfit(url):
        way_out = (
            'Give the dashboard of the head, url = "http://head:8265", and a file with its token, token_file = "/etc/lilong/ray.token".'
        )
        raise table.wrong("url", problem, way_out)
    if not folder.startswith("/") or ".." in Path(folder).parts:
        raise table.wrong("folder", f"{folder!r} is no absolute path", 'Give a folder that the nodes see too: folder = "/shared/lilong".')
    token_file, ca_file = table.text("token_file"), table.text("ca_file")
    for key, path in (("token_file", token_file), ("ca_file", ca_file)):
        if path and not Path(path).is_file():
            raise table.wrong(key, f"there is no file {path}", "Give the path of a file that the house may read.")
    if token_file:
        check_private(table.field("token_file"), Path(token_file))
    found = Options(
        url=url.rstrip("/"), folder=Path(folder), token_file=Path(token_file) if token_file else None, ca_file=Path(ca_file) if ca_file else None,
        devices=table.words("devices"), levels=table.words("levels"), spread=table.flag("spread"),
        python=table.text("python", "python3"), program=table.text("program"), vendors=table.words("vendors"),
        sandbox=table.one_of("sandbox", ["", *(level.word for level in Level)], ""),
    )  # fmt: skip
    table.end()
    return found
