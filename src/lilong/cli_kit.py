"""What every command shares: where the house is, how answers are printed, how errors end the process."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click

# On a terminal, lists show times to the minute and the first digits of digests; --json and pipes have them whole.
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):\d\d(?:\.\d+)?Z")
_DIGEST = re.compile(r"\b(?:sha256:)?([0-9a-f]{12})[0-9a-f]{28}(?:[0-9a-f]{24})?\b")
_WHOLE = re.compile(r"[a-z]+-[0-9a-hjkmnp-tv-z]{26}|[0-9a-f]{12}|\d{4}-\d\d-\d\d( \d\d:\d\d)?|LL-\d+-\d+")

_CONTROL = re.compile(r"\x1b(?!\[[0-9;]{0,20}m)|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_INTERRUPTED = 130  # as shells call what SIGINT has ended
_NARROW = 16  # characters that a column of words needs

_OPTIONS = (
    click.option("--house", type=click.Path(path_type=Path), envvar="LILONG_HOUSE", help="The house's folder (default: ./house)."),
    click.option("--url", help="A server's address instead of a folder (also LILONG_URL)."),
    click.option("--token-file", type=click.Path(path_type=Path), envvar="LILONG_TOKEN_FILE", help="File with your API token (mode 0600)."),
    click.option("--json", "as_json", is_flag=True, help="Answer in JSON."),
)


class LazyGroup(click.Group):
    """Commands that are loaded when they are called. `listed`: name -> where it is (module:name), and a line of help."""

    def __init__(self, *given: Any, listed: Callable[[], Mapping[str, tuple[str, str]]], **more: Any) -> None:
        super().__init__(*given, **more)
        self._listed = listed

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._listed())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self._listed().get(cmd_name)
        if found is None:
            return None
        module, _, name = found[0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("lilong: Interrupted.", err=True)
            raise SystemExit(_INTERRUPTED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, doc) for name, (_, doc) in self._listed().items()])


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the house is; it is called with `client` and `as_json`."""

    @functools.wraps(function)
    def command(house: Path | None, url: str | None, token_file: Path | None, as_json: bool, **given: Any) -> Any:
        from lilong.client import opened

        with opened(house, url, token_file) as client:
            return function(client=client, as_json=as_json, **given)

    return where(command)


def where(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the house is: `house`, `url`, `token_file` and `as_json`, for one that may do without."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def show(value: Any, as_json: bool, columns: Sequence[tuple[str, str]] = ()) -> None:
    """Print a value: JSON, or a table of the given (header, key) columns, or a list of its fields. Keys may be dotted."""
    if as_json:
        click.echo(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    if isinstance(value, list):
        if not columns and value and isinstance(value[0], Mapping):
            columns = [(key.upper(), key) for key in value[0] if not isinstance(value[0][key], list | dict)]
        rows: Sequence[Any] = value
    else:
        rows, columns = [{"field": key, "value": item} for key, item in value.items()], [("", "field"), ("", "value")]
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console = Console(highlight=False, markup=False, width=240)
    short = console.is_terminal and isinstance(value, list)
    cells = [[_cell(_pick(row, key), short) for _, key in columns] for row in rows]
    widths = [max(len(header), *(len(line[at]) for line in cells)) for at, (header, _) in enumerate(columns)] if cells else []
    whole = [any(_WHOLE.fullmatch(line[at]) for line in cells) for at in range(len(widths))]  # what people copy stays on one line
    least = [width if fixed else min(width, _NARROW) for width, fixed in zip(widths, whole, strict=True)]
    if short and sum(least) + 2 * len(least) > console.width:
        console.print("\n\n".join(_block(columns, line) for line in cells), soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, show_header=isinstance(value, list))
    for (header, _), fixed, width in zip(columns, whole, least, strict=False):
        table.add_column(header, overflow="fold", no_wrap=fixed and isinstance(value, list), min_width=width if short else None)
    for line in cells:
        table.add_row(*line)
    console.print(table if rows else "(none)")


def harmless(text: str) -> str:
    """What others wrote, for a terminal: colours may stay; other control sequences could make it show, or do, what they want."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def _block(columns: Sequence[tuple[str, str]], line: Sequence[str]) -> str:
    """One row, a line for each column: for what is too wide to stand side by side."""
    wide = max(len(header) for header, _ in columns)
    return "\n".join(f"{header:<{wide}}  {cell}" for (header, _), cell in zip(columns, line, strict=True))


def _pick(row: Any, key: str) -> Any:
    for part in key.split("."):
        row = row.get(part) if isinstance(row, Mapping) else None
    return row


def _cell(value: Any, short: bool) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return harmless(", ".join(value)) or "-"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    text = harmless(str(value))
    return _DIGEST.sub(r"\1", _STAMP.sub(r"\1 \2", text)) if short else text
