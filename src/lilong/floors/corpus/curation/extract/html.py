"""HTML to text: the main part of a page, block by block.

Text extraction by the parser alone runs paragraphs together, so marks are set in front of block tags before parsing, and blanks
are folded only outside of preformatted parts.
"""

from __future__ import annotations

import re

from selectolax.lexbor import LexborHTMLParser

_BREAK, _PARAGRAPH, _CELL, _KEPT_LINE, _KEPT_BLANK = "\ue000", "\ue001", "\ue002", "\ue003", "\ue004"
_MARKS = re.compile("[\ue000-\ue004]")
_SEEN = re.compile("[^\\s\ue000-\ue004]")
_PRE = re.compile(r"(<pre\b[^<>]*>)(.*?)(</pre\s*>)", re.IGNORECASE | re.DOTALL)
_PRE_END = re.compile(r"</pre\s*>", re.IGNORECASE)
# What browsers lay out as a block of its own (HTML, section 15.3.3), but for parts of lists and tables.
_PARAGRAPH_TAG = re.compile(
    r"(</?(?:p(?:re)?|h(?:[1-6]|r|eader|group)|[ou]l|d(?:l|i[rv]|etails|ialog)|m(?:ain|enu)|table|c(?:aption|enter)|se(?:ction|arch)|a(?:rticle|side|ddress)"
    r"|blockquote|f(?:ooter|igure|igcaption|ieldset|orm)|l(?:egend|isting)|xmp)\b|</summary\b)",
    re.IGNORECASE,
)
_BREAK_TAG = re.compile(r"(<(?:br|li|dt|dd|option|summary)\b)", re.IGNORECASE)
# A mark between <table> and <td> would be moved out of the table by the parser, so a row's break goes into its first cell.
_ROW = re.compile(r"(<tr\b[^<>]*>\s*<t[dh]\b[^<>]*>)", re.IGNORECASE)
_CELL_TAG = re.compile(r"(<t[dh]\b[^<>]*>)", re.IGNORECASE)  # its end may be left out
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_BLOCKS = re.compile(f" ?[{_BREAK}{_PARAGRAPH}][ {_BREAK}{_PARAGRAPH}{_CELL}]*")
_CELLS = re.compile(f"(?: ?{_CELL} ?)+")
_MAIN = ("main", "[role=main]", "article", "#docContent", "body")
# Some servers wrap a whole page in a form.
_ASIDE = (
    "script, style, noscript, template, nav, footer, head, iframe, svg, button, select, input, form:not(:has(p, h1, h2, h3, main, article)), "
    "[role=navigation], [role=search], [aria-hidden=true], .headerlink, .navheader, .navfooter, .sphinxsidebar, .related, .toc"
)


def html_text(source: str) -> str:
    """The text of an HTML page without navigation, scripts and small forms. Paragraphs are parted by a blank line, table cells by two
    blanks; preformatted parts keep their lines."""
    marked = _MARKS.sub("", source)
    marked = _PARAGRAPH_TAG.sub(_PARAGRAPH + r"\1", _with_kept_lines(marked))
    marked = _CELL_TAG.sub(r"\1" + _CELL, marked)
    marked = _ROW.sub(r"\1" + _BREAK, marked)
    marked = _BREAK_TAG.sub(_BREAK + r"\1", marked)
    tree = LexborHTMLParser(marked)
    for node in tree.css(_ASIDE):
        if node.tag not in ("body", "html"):
            node.decompose()
    text = _BLANKS.sub(" ", _main(tree))
    text = _BLOCKS.sub(lambda found: "\n\n" if _PARAGRAPH in found.group() else "\n", text)
    text = _CELLS.sub("  ", text)
    return text.replace(_KEPT_LINE, "\n").replace(_KEPT_BLANK, " ").strip()


def _with_kept_lines(page: str) -> str:
    ends = [found.end() for found in _PRE_END.finditer(page)]
    return _PRE.sub(_keep_lines, page[: ends[-1]]) + page[ends[-1] :] if ends else page  # to look for an end that is not there takes long


def _keep_lines(found: re.Match[str]) -> str:
    inside = found.group(2).expandtabs(8).replace("\n", _KEPT_LINE).replace("  ", _KEPT_BLANK * 2)
    return f"{found.group(1)}{inside}{found.group(3)}"


def _main(tree: LexborHTMLParser) -> str:
    """The text of the parts that the page says are its main ones, with marks; of all of it where it does not say, or they are empty."""
    for selector in _MAIN:
        found = tree.css(f"{selector}:not({selector} {selector})")
        text = _PARAGRAPH.join(node.text(deep=True, separator="") for node in found)
        if _SEEN.search(text):
            return text
    return tree.root.text(deep=True, separator="") if tree.root else ""
