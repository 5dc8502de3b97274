"""HTML to text: the main part of a page, block by block.

Text extraction by the parser alone runs paragraphs together, so marks are set in front of block tags before parsing, and blanks
are folded only outside of preformatted parts.
"""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser, LexborNode

_BREAK, _PARAGRAPH, _CELL, _KEPT_LINE, _KEPT_BLANK = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
_MARKS = re.compile("[\ue000-\ue004]")
_PRE = re.compile(r"(<pre\b[^>]*>)(.*?)(</pre\s*>)", re.IGNORECASE | re.DOTALL)
_PARAGRAPH_TAG = re.compile(
    r"(</?(?:p|h[1-6]|pre|ul|ol|dl|table|section|article|blockquote|div|header|figure|figcaption|fieldset|hr|main)\b)", re.IGNORECASE
)
_BREAK_TAG = re.compile(r"(<(?:br|li|dt|dd|option|summary)\b)", re.IGNORECASE)
# A mark between <table> and <td> would be moved out of the table by the parser, so a row's break goes into its first cell.
_ROW = re.compile(r"(<tr\b[^>]*>\s*<t[dh]\b[^>]*>)", re.IGNORECASE)
_CELL_TAG = re.compile(r"(</t[dh]\s*>)", re.IGNORECASE)
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_BLOCKS = re.compile(f" ?[{_BREAK}{_PARAGRAPH}][ {_BREAK}{_PARAGRAPH}{_CELL}]*")
_CELLS = re.compile(f"(?: ?{_CELL} ?)+")
_MAIN = ("main", "[role=main]", "article", "#docContent", "body")
_ASIDE = (
    "script, style, noscript, template, nav, footer, head, iframe, svg, button, form, select, input, "
    "[role=navigation], [role=search], [aria-hidden=true], .headerlink, .navheader, .navfooter, .sphinxsidebar, .related, .toc"
)


def html_text(source: str) -> str:
    """The text of an HTML page without navigation, scripts and forms. Paragraphs are parted by a blank line, table cells by two
    blanks; preformatted parts keep their lines."""
    marked = _MARKS.sub("", source)
    marked = _PRE.sub(_keep_lines, marked)
    marked = _PARAGRAPH_TAG.sub(_PARAGRAPH + r"\1", marked)
    marked = _ROW.sub(r"\1" + _BREAK, marked)
    marked = _BREAK_TAG.sub(_BREAK + r"\1", marked)
    marked = _CELL_TAG.sub(_CELL + r"\1", marked)
    tree = LexborHTMLParser(marked)
    for node in tree.css(_ASIDE):
        if node.tag not in ("body", "html"):
            node.decompose()
    main = _main(tree)
    if main is None:
        return ""
    text = _BLANKS.sub(" ", main.text(deep=True, separator=""))
    text = _BLOCKS.sub(lambda found: "\n\n" if _PARAGRAPH in found.group() else "\n", text)
    text = _CELLS.sub("  ", text)
    return text.replace(_KEPT_LINE, "\n").replace(_KEPT_BLANK, " ").strip()


def _keep_lines(found: re.Match[str]) -> str:
    inside = found.group(2).expandtabs(8).replace("\n", _KEPT_LINE).replace("  ", _KEPT_BLANK * 2)
    return f"{found.group(1)}{inside}{found.group(3)}"


def _main(tree: LexborHTMLParser) -> LexborNode | None:
    for selector in _MAIN:
        node = tree.css_first(selector)
        if node is not None:
            return node
    return tree.root
