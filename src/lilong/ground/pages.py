"""Server-rendered pages: the console gives the shell and the words, each floor its own templates.

Nothing here loads from another host, and no page needs a script to be read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from fastapi import Request
from markupsafe import Markup
from starlette.responses import HTMLResponse, RedirectResponse, Response

from .seams import parse_stamp

LANGUAGES = {"en": "English", "zh": "中文"}
THEMES = ("auto", "light", "dark")
_PLURAL = re.compile(r"\A\{n\} (\w+)s\b")  # all of the plurals that the pages count are regular


@dataclass(frozen=True, slots=True)
class Shell:
    """The templates of the console and of the floors, with the words of each language but English."""

    environment: jinja2.Environment
    words: Mapping[str, Mapping[str, str]]


def shell(template_folders: list[Path], words: Path) -> Shell:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([str(folder) for folder in template_folders]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(bytes=_bytes, number=_number, short=_short, when=_when, span=_span, markdown=_markdown)
    catalogues = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(words.glob("*.json"))}
    return Shell(environment, catalogues)


def folder_of(package: str, name: str) -> Path:
    with resources.as_file(resources.files(package) / name) as path:
        return path


def language(request: Request) -> str:
    """The reader's language: their choice, else what their browser asks for, else English."""
    chosen = request.cookies.get("lilong_language")
    if chosen in LANGUAGES:
        return chosen
    for part in request.headers.get("accept-language", "").split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        if tag in LANGUAGES:
            return tag
    return "en"


def theme(request: Request) -> str:
    chosen = request.cookies.get("lilong_theme", "auto")
    return chosen if chosen in THEMES else "auto"


def words(request: Request) -> Callable[..., str]:
    """What `_("…")` is in templates: the English text in the reader's language, with {placeholders} filled in."""
    made: Shell = request.app.state.shell
    lang = language(request)
    catalogue = made.words.get(lang, {})

    def translate(text: str, **values: Any) -> str:
        said = catalogue.get(text, text)
        if lang == "en" and values.get("n") == 1:
            said = _PLURAL.sub(r"{n} \1", said)
        return said.format(**values) if values else said

    return translate


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """Render a template in the reader's language."""
    made: Shell = request.app.state.shell
    html = made.environment.get_template(template).render(
        _=words(request), lang=language(request), theme=theme(request), languages=LANGUAGES, path=request.url.path, house_name=request.app.state.house.settings.name,
        actor=getattr(request.state, "actor", None), query=request.query_params, **context,
    )  # fmt: skip
    return HTMLResponse(html, status, {"cache-control": "no-store", "vary": "Cookie, Accept-Language"})


def wants_page(request: Request) -> bool:
    """Whether a person with a browser asks, not a program."""
    return (
        "text/html" in request.headers.get("accept", "")
        and not request.url.path.startswith(("/api/", "/v1/"))
        and request.headers.get("hx-request") != "true"
    )


def to_sign_in(request: Request) -> Response:
    from urllib.parse import quote

    return RedirectResponse(f"/sign-in?next={quote(request.url.path, safe='/')}", 303)


# --- filters --------------------------------------------------------------------------------------------------------------


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _number(value: Any, digits: int = 4) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and 10**digits <= abs(value) < 1e15:
        return f"{value:,.0f}"  # not 3.577e+04
    return f"{value:.{digits}g}" if isinstance(value, float) else str(value)


def _short(digest: str | None, length: int = 12) -> str:
    return (digest or "–").removeprefix("sha256:")[:length]


def _when(stamp_: str | None) -> Markup:
    if not stamp_:
        return Markup("–")
    at = parse_stamp(stamp_).astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(stamp_, at.strftime("%Y-%m-%d %H:%M:%S"))


def _span(pair: tuple[str | None, str | None] | float | None) -> str:
    """Seconds, or the time between two stamps (to now if the second is missing), for people."""
    if isinstance(pair, tuple):
        if pair[0] is None:
            return "–"
        end = parse_stamp(pair[1]) if pair[1] else datetime.now(UTC)
        seconds = (end - parse_stamp(pair[0])).total_seconds()
    elif pair is None:
        return "–"
    else:
        seconds = float(pair)
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    return f"{int(seconds) // 3600} h {int(seconds) // 60 % 60:02d} min"


def _markdown(text: str, below: int = 2) -> Markup:
    """A card as HTML: no raw HTML, no images from elsewhere, headings `below` levels under the page's own."""
    from markdown_it import MarkdownIt

    body = text.split("---", 2)[2] if text.startswith("---") and text.count("---") >= 2 else text
    made = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image").render(body)
    for level in (4, 3, 2, 1):
        made = made.replace(f"<h{level}>", f"<h{level + below}>").replace(f"</h{level}>", f"</h{level + below}>")
    made = made.replace("<th></th>", "<td></td>")  # the empty corner of a table heads nothing
    made = made.replace("<table>", '<div class="wide" tabindex="0" role="group" aria-label="table"><table>').replace(
        "</table>", "</table></div>"
    )
    return Markup(made)  # noqa: S704 - the renderer escapes everything it is given
