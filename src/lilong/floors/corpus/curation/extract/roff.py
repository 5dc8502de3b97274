"""Man pages (roff with the man, mdoc or Tcl macros) to text.

Not a typesetter: requests and fonts go, words stay, filled lines are joined into paragraphs, and what lies between .nf and .fi
keeps its lines. Escapes are those of groff_char(7) that occur in manual pages.
"""

from __future__ import annotations

import re

ROFF_REDIRECT = "\x00.so"
"""What a page is that holds nothing but `.so other-page`."""

_CHARACTERS = {
    "aq": "'", "dq": '"', "bu": "•", "em": "—", "en": "–", "hy": "-", "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "rs": "\\", "ti": "~",
    "ha": "^", "ga": "`", "co": "©", "rg": "®", "tm": "™", "mu": "×", "di": "÷", "+-": "±", "<=": "≤", ">=": "≥", "!=": "≠", "->": "→",
    "<-": "←", "mc": "µ", "*m": "μ", "de": "°", "pl": "+", "mi": "−", "eq": "=", "sl": "/", "ba": "|", "or": "|", "at": "@", "sh": "#",
    "Do": "$", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "la": "⟨", "ra": "⟩", "Fo": "«", "Fc": "»", "ss": "ß", "12": "½", "14": "¼", "34": "¾",
    "if": "∞", "sc": "§", "ps": "¶", "ct": "¢", "Po": "£", "Eu": "€", "ul": "_", "bs": "", "ua": "↑", "da": "↓", "lh": "☜", "rh": "☞",
}  # fmt: skip
_ACCENTS = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", ":": "\u0308"}
_ESCAPE = re.compile(
    r"\\(?:\[(?P<long>[^\]]*)\]|\((?P<two>..)|\*\[(?P<string>[^\]]*)\]|\*\((?P<string2>..)|\*(?P<string1>.)"
    r"|f(?:\[[^\]]*\]|\(..|.)|s(?:\[[^\]]*\]|\(..|[-+]?\d{1,2})|[mMFY](?:\[[^\]]*\]|\(..|.)|n(?:\[[^\]]*\]|\(..|[+-]?.)"
    r"|[hvwlLDZoXbxSHRCNA](?P<quote>['\"])(?:(?!(?P=quote)).)*(?P=quote)|(?P<one>.))"
)
_ONE = {"-": "-", "e": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "'": "'", "`": "`", ".": ".", "t": "\t", "_": "_", '"': ""}
_STRINGS = {"lq": "“", "rq": "”", 'L"': "“", 'R"': "”", "Tm": "™", "R": "®", "(dq": '"', "dq": '"', "Aq": "'"}
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')
_COMMENT = re.compile(r'(?<!\\)(?:\\\\)*\\["#].*$')
_BREAKING = frozenset({"PP", "P", "LP", "br", "sp", "Pp", "RS", "RE", "in", "ti", "ad", "na", "ce", "IP", "HP", "bp", "ne", "AP"})
_ALTERNATING = frozenset({"BR", "BI", "IB", "IR", "RB", "RI", "SB"})
_SPOKEN = frozenset({"B", "I", "SM", "R", "CW", "C"})
_HEADINGS = frozenset({"SH", "SS", "Sh", "Ss", "NH"})
_LITERAL_START = frozenset({"nf", "EX", "CS", "Bd", "DS", "Vb", "vS"})
_LITERAL_END = frozenset({"fi", "EE", "CE", "Ed", "DE", "Ve", "vE"})
_MDOC_WORDS = frozenset({"Nm", "Fl", "Ar", "Op", "Pa", "Ic", "Cm", "Va", "Vt", "Fa", "Fn", "Ft", "Xr", "Em", "Sy", "Li", "Dq", "Sq", "Ql", "Pq", "Qq",
                         "Ev", "Er", "Dv", "Ad", "Nd", "Tn", "Bx", "Nx", "Fx", "Ox", "Ux", "At", "St", "An", "In", "Cd", "Ms", "No", "Aq", "Bq", "Oc",
                         "Oo", "Do", "Dc", "So", "Sc", "Po", "Pc", "Ns", "Ap", "Fo", "Fc", "Lk", "Mt", "Rv", "Ex", "Bo", "Bc", "Brq", "Qo", "Qc"})  # fmt: skip
_PUNCTUATION = frozenset(".,;:?!)]")


def roff_text(source: str) -> str:
    """The text of a manual page, or ROFF_REDIRECT. Headings stand on lines of their own between blank lines."""
    page = _Page()
    lines = source.replace("\r", "").replace("\\\n", "").split("\n")
    position = 0
    while position < len(lines):
        position = page.read(lines, position)
    return page.text()


class _Page:
    """The state of reading one page from top to bottom."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.filling: list[str] = []
        self.literal = False
        self.table = False
        self.redirect = False
        self.tag_next = False

    def text(self) -> str:
        self.flush()
        if self.redirect and not self.blocks:
            return ROFF_REDIRECT
        return "\n".join(self.blocks)

    def flush(self) -> None:
        if self.filling:
            self.blocks.append("\n".join(self.filling) if self.literal or self.table else " ".join(self.filling))
            self.filling = []

    def paragraph(self) -> None:
        self.flush()
        if self.blocks and self.blocks[-1]:
            self.blocks.append("")

    def read(self, lines: list[str], position: int) -> int:
        """Take the line at `position`; answers where the next one is."""
        line = lines[position]
        if line[:1] in ".'" and line[:1]:
            return self.request(line[1:].strip(), lines, position)
        text = _plain(line)
        if self.table:
            self.filling.append(_cells(text))
        elif not text.strip() and not self.literal:
            self.paragraph()
        elif self.literal:
            self.filling.append(text.rstrip())
        else:
            self.say(text.strip())
        return position + 1

    def say(self, text: str) -> None:
        if not text:
            return
        if self.tag_next and not self.literal:
            # The line after .TP is the term; the definition starts a line of its own.
            self.tag_next = False
            self.flush()
            self.blocks.append(text)
            return
        self.filling.append(text)

    def request(self, line: str, lines: list[str], position: int) -> int:
        name, _, rest = line.partition(" ")
        if "\t" in name:
            name, _, rest = line.partition("\t")
        if not name or name.startswith(("\\", "*")):
            return position + 1
        if name in ("de", "de1", "am", "ig"):
            end = ".." if name == "ig" or not rest.split()[1:] else "." + rest.split()[1]
            return _after(lines, position, end)
        if name in ("if", "ie", "el", "while"):
            return self.condition(name, rest, lines, position)
        self.macro(name, _COMMENT.sub("", rest))
        return position + 1

    def condition(self, name: str, rest: str, lines: list[str], position: int) -> int:
        """nroff's branch of a condition is taken; a block that is not taken is stepped over."""
        body = rest if name == "el" else rest.partition(" ")[2]
        taken = name != "el" and rest.split(" ", maxsplit=1)[0] == "n"
        if r"\{" in body:
            inner = body.split(r"\{", 1)[1]
            depth, at = 1 + inner.count(r"\{") - inner.count(r"\}"), position
            while depth > 0 and at + 1 < len(lines):
                at += 1
                depth += lines[at].count(r"\{") - lines[at].count(r"\}")
            return at + 1
        if taken and body.strip():
            self.read([body.strip()], 0)
        return position + 1

    def macro(self, name: str, rest: str) -> None:
        if name in _HEADINGS:
            self.close_literal()
            self.paragraph()
            self.blocks.extend([_plain(" ".join(_arguments(rest))), ""])
        elif name in _SPOKEN:
            self.say(_plain(" ".join(_arguments(rest))))
        elif name in _ALTERNATING:
            self.say(_plain("".join(_arguments(rest))))
        elif name in ("TP", "TQ"):
            self.paragraph()
            self.tag_next = True
        elif name == "It" or (name in ("IP", "HP", "AP") and rest):
            self.item(name, rest)
        elif name in _BREAKING:
            if not (self.literal and name in ("in", "ti", "RS", "RE")):
                self.paragraph() if name in ("PP", "P", "LP", "Pp", "sp", "IP", "HP") else self.flush()
        elif name in _LITERAL_START or name in _LITERAL_END:
            self.close_literal()
            self.literal = name in _LITERAL_START
        elif name in ("TS", "TE"):
            self.flush()
            self.table = name == "TS"
        elif name == "so":
            self.redirect = True
        elif name in ("UR", "MT"):
            self.say(_plain(rest.strip()))
        elif name == "OP":
            self.say(_plain("[" + " ".join(_arguments(rest)) + "]"))
        elif name in _MDOC_WORDS:
            self.say(_mdoc(name, rest))

    def item(self, name: str, rest: str) -> None:
        self.paragraph()
        given = _arguments(rest)
        term = _mdoc("No", rest) if name == "It" else _plain(given[0])
        if term in ("•", "-", "*", "o", "—"):
            self.filling.append(term)
        elif term:
            self.blocks.append(term)

    def close_literal(self) -> None:
        self.flush()
        self.literal = False
        self.tag_next = False


def _after(lines: list[str], position: int, end: str) -> int:
    for at in range(position + 1, len(lines)):
        if lines[at].rstrip() == end:
            return at + 1
    return len(lines)


def _arguments(rest: str) -> list[str]:
    return [(quoted.replace('""', '"') if bare == "" else bare) for quoted, bare in _ARGUMENT.findall(rest)]


def _cells(text: str) -> str:
    """One line of a tbl(1) table; layout lines (`l l l.`, `tab(@);`) say nothing."""
    bare = text.strip()
    if not bare or bare in ("_", "=", "T{", "T}") or re.fullmatch(r"[lrcnaLRCNAbBiIfFwWxXpPvVsS^|\d\s().,\[\]_-]+\.|.*;", bare):
        return ""
    return re.sub(r"\t+|@", "  ", bare.removesuffix("T{").removeprefix("T}"))


def _mdoc(name: str, rest: str) -> str:
    out = "" if name != "Fl" else "-"
    glue = name == "Fl"
    for word in _arguments(rest):
        if word in _MDOC_WORDS:
            if word == "Fl":
                out, glue = out + " -", True
            elif word in ("Ns", "Ap"):
                glue = True
            continue
        plain = _plain(word)
        out += plain if glue or plain[:1] in _PUNCTUATION else f" {plain}"
        glue = False
    return out.strip()


def _plain(text: str) -> str:
    return _ESCAPE.sub(_character, _COMMENT.sub("", text)) if "\\" in text else text


def _character(found: re.Match[str]) -> str:
    name = found["long"] or found["two"]
    if name:
        if re.fullmatch(r"u[0-9A-F]{4,6}", name):
            return chr(int(name[1:], 16)) if int(name[1:], 16) < 0x110000 else ""
        if name in _CHARACTERS:
            return _CHARACTERS[name]
        if len(name) == 2 and name[0] in _ACCENTS and name[1].isalpha():
            return name[1] + _ACCENTS[name[0]]
        return ""
    string = found["string"] or found["string2"] or found["string1"]
    if string:
        return _STRINGS.get(string, "")
    return _ONE.get(found["one"] or "", "")
