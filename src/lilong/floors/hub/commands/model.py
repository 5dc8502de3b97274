"""`lilong model`: the models of the house."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lilong.cli_kit import common, show


@click.group()
def model() -> None:
    """Model repositories."""


@model.command("list")
@click.option("--search", help="Part of a name.")
@click.option("--organisation", help="Only of this organisation.")
@common
def list_(client: Any, as_json: bool, search: str | None, organisation: str | None) -> None:
    """List the models that you may see, the newest first."""
    from lilong.client import hub

    found = hub.repositories(client, search=search, organisation=organisation)
    columns = (("MODEL", "repository.name"), ("COMMIT", "commit"), ("PRIVATE", "repository.private"), ("UPDATED", "updated_at"))
    show(hub.plain(found), as_json, columns)


@model.command("show")
@click.argument("name")
@common
def show_(client: Any, as_json: bool, name: str) -> None:
    """Show a model.

    NAME is organisation/name, or organisation/name@revision.
    """
    from lilong.client import hub

    found = hub.shown(client, name)
    if as_json:
        show(hub.plain(found), True)
        return
    revision = found.revision
    show({"model": revision.repository.name, "commit": revision.commit, "manifest": revision.manifest, "message": revision.message,
          "author": revision.author, "at": revision.at, **{key: found.metadata[key] for key in ("license", "base_model") if key in found.metadata}}, False)  # fmt: skip
    show(hub.plain(revision.files), False, (("FILE", "path"), ("BYTES", "size"), ("SHA-256", "digest")))
    show(hub.plain(found.statements), False, (("STATEMENT", "predicate_type"), ("ID", "id"), ("AT", "at"), ("REVOKED", "revoked")))
    if found.card.strip():
        click.echo("\n" + found.card.strip())


@model.command("signature")
@click.argument("name")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), show_default="here", help="Folder for the two files."
)
@common
def signature_(client: Any, as_json: bool, name: str, out: Path) -> None:
    """Write the signature of a model and its key.

    With them a download can be checked: model_signing verify key DIR --signature model.sig --public_key model.pub.
    """
    from lilong.client import hub

    made = hub.signature(client, name)
    out.mkdir(parents=True, exist_ok=True)
    (out / "model.sig").write_text(made["signature"])
    (out / "model.pub").write_text(made["public_key"])
    show({"signature": str(out / "model.sig"), "public_key": str(out / "model.pub")}, as_json)


@model.command("scan")
@click.argument("name")
@common
def scan_(client: Any, as_json: bool, name: str) -> None:
    """Show what was found in a model's files.

    What nobody has looked at yet is looked at now, if you may write. NAME may end with @revision.
    """
    from lilong.client import hub

    found = hub.scan(client, name)
    if as_json:
        show(found, True)
        return
    facts = found["facts"]
    weights = facts.get("safetensors") or facts.get("gguf") or {}
    licence = facts.get("licence") or {}
    about = {"model": found["id"], "commit": found["sha"], "scanned": found["scansDone"], "parameters": weights.get("total"),
             "library": facts.get("library_name"), "task": facts.get("pipeline_tag"), "licence": licence.get("card") or licence.get("text"),
             "licence conflict": licence.get("conflict")}  # fmt: skip
    show({key: value for key, value in about.items() if value not in (None, "")}, False)
    lines = []
    for file in found["files"]:
        status = file["securityFileStatus"]
        why = (status.get("pickleImportScan") or {}).get("message") or ", ".join(
            f"{finding['rule']} in line {finding['line']}" for finding in status.get("secretScan", {}).get("findings", ())
        )
        lines.append({"path": file["path"], "status": status["status"], "why": why})
    show(lines, False, (("FILE", "path"), ("STATUS", "status"), ("WHY", "why")))
