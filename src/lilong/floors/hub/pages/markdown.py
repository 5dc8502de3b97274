"""Cards and comments as HTML: no raw HTML, pictures of this repository only, links that stay or say where they go."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from lilong.floors.hub.pages.door import Address

_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_LIMIT = 512 << 10  # characters that are rendered
_TALK = 256 << 10  # characters of comments that are rendered for one page: a text made for it takes seconds for each of these


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").enable("strikethrough")


def render(text: str, at: Address | None = None, revision: str = "main", folder: str = "", below: int = 1) -> Markup:
    """Headings come `below` levels under the page's own; relative links lead into the revision of `at`."""
    reader = _reader()
    tokens = reader.parse(text[:_LIMIT])
    _levels(tokens, below)
    for token in tokens:
        if token.children:
            token.children = list(_inline(token.children, at, revision, folder))
    made = str(reader.renderer.render(tokens, reader.options, {}))
    made = made.replace("<th></th>", "<td></td>")  # the empty corner of a table heads nothing
    made = made.replace("<table>", '<div class="wide" tabindex="0" role="group" aria-label="table"><table>').replace(
        "</table>", "</table></div>"
    )
    return Markup(made.replace("<pre>", '<pre tabindex="0">'))  # noqa: S704 - the renderer escapes everything it is given


def render_all(texts: Iterable[str], at: Address) -> dict[str, Markup]:
    """Comments of one page: so much of them as Markdown as can be worked out in a moment, what is more as it was written."""
    made: dict[str, Markup] = {}
    left = _TALK
    for text in texts:
        if text in made:
            continue
        left -= len(text)
        made[text] = render(text, at, below=2) if left >= 0 else Markup("<pre>{}</pre>").format(text)
    return made


def _levels(tokens: list[Token], below: int) -> None:
    """Headings without gaps, whatever the author left out: readers by ear step through them."""
    stack: list[int] = []
    for token in tokens:
        if token.type == "heading_open":
            level = int(token.tag[1])
            while stack and stack[-1] >= level:
                stack.pop()
            stack.append(level)
            token.tag = f"h{min(len(stack) + below, 6)}"
        elif token.type == "heading_close":
            token.tag = f"h{min(len(stack) + below, 6)}"


def _inline(children: Iterable[Token], at: Address | None, revision: str, folder: str) -> Iterable[Token]:
    for token in children:
        if token.type == "image":
            yield _picture(token, at, revision, folder)
        else:
            if token.type == "link_open":
                _lead(token, at, revision, folder)
            yield token


def _picture(token: Token, at: Address | None, revision: str, folder: str) -> Token:
    """A picture of the repository; any other as a word, since no page fetches from elsewhere."""
    path = _inside(str(token.attrGet("src") or ""), folder)
    said = token.content or (path or "").rsplit("/", 1)[-1]
    if at is not None and path is not None and path.lower().endswith(_PICTURES):
        made = Markup('<img src="{}" alt="{}" loading="lazy">').format(at.at("resolve", revision, path), said)
    else:
        made = Markup("<em>[{}]</em>").format(said) if said else Markup("")
    return Token("html_inline", "", 0, content=str(made))


def _lead(token: Token, at: Address | None, revision: str, folder: str) -> None:
    href = str(token.attrGet("href") or "")
    path = _inside(href, folder)
    if path is not None and at is not None and path:
        token.attrSet("href", at.at("blob", revision, path))
    elif urlsplit(href).netloc:
        token.attrSet("rel", "nofollow noreferrer")


def _inside(href: str, folder: str) -> str | None:
    """The path in the repository that a relative address means, or None."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return None
    if parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(folder, unquote(parts.path)))
    return None if path.startswith("..") else path
