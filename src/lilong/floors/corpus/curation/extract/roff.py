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
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:[^\s\\]+|\\ ?)+)')
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
_TAB = re.compile(r"\btab *\((.)\)")
_ELSE = re.compile(r"[.'][ \t]*el(?![A-Za-z])[ \t]*")
_LONGEST_STRING, _MOST_BLOCKS = 1_000, 1_000
"""Characters of a string, and conditional blocks that are looked into: more of either is no page."""


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
        self.strings = dict(_STRINGS)
        self.name = ""
        self.blocks_taken = 0
        self.blocks: list[str] = []
        self.filling: list[str] = []
        self.literal = False
        self.table = False
        self.layout = False
        self.tab = "\t"
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
        text = self.plain(line)
        if self.layout:
            self.layout = not text.rstrip().endswith(".")
            if given := _TAB.search(text):
                self.tab = given[1]
        elif self.table:
            self.filling.append(_cells(text, self.tab))
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
            given = _COMMENT.sub("", rest).split()[name != "ig" :]
            end = f".{given[0]}" if given else ".."
            return _after(lines, position, end)
        if name in ("if", "ie", "el", "while"):
            return self.condition(name, rest.strip(), lines, position)
        self.macro(name, _COMMENT.sub("", rest))
        return position + 1

    def condition(self, name: str, rest: str, lines: list[str], position: int) -> int:
        """The branch that nroff takes is left in `lines` to be read next, the other one is stepped over."""
        taken, body = (False, rest) if name == "el" else self.holds(rest)
        last = position
        if opens := r"\{" in body:
            depth = body.count(r"\{") - body.count(r"\}")
            while depth > 0 and last + 1 < len(lines):
                last += 1
                depth += lines[last].count(r"\{") - lines[last].count(r"\}")
        if name == "ie" and last + 1 < len(lines) and (other := _ELSE.match(lines[last + 1])):
            lines[last + 1] = f".if {'t' if taken else 'n'} {lines[last + 1][other.end() :]}"
        if not taken or (opens and self.blocks_taken == _MOST_BLOCKS) or not body:
            return last + 1
        lines[position] = body.replace(r"\{", "", 1).strip() or "."
        if opens:
            self.blocks_taken += 1
            before, _, after = lines[last].rpartition(r"\}")
            lines[last] = before + after or "."
        return position

    def holds(self, rest: str) -> tuple[bool, str]:
        """Whether a condition holds for nroff as groff has it, and what stands behind it. What counts or compares registers does not."""
        wanted = not rest.startswith("!")
        rest = rest if wanted else rest[1:]
        if rest[:1] in "'\"" and rest.count(rest[:1]) > 2:
            _, left, right, body = rest.split(rest[0], 3)
            return (self.plain(left) == self.plain(right)) == wanted, body.strip()
        condition, _, body = rest.partition(" ")
        known = condition in ("n", "t", "o", "e", r"\n(.g", r"\n[.g]", "1", "0")
        return known and (condition not in ("t", "e", "0")) == wanted, body.strip()

    def macro(self, name: str, rest: str) -> None:
        if name in _HEADINGS:
            self.close_literal()
            self.paragraph()
            self.blocks.extend([self.plain(" ".join(_arguments(rest))), ""])
        elif name in _SPOKEN:
            self.say(self.plain(" ".join(_arguments(rest))))
        elif name in _ALTERNATING:
            self.say(self.plain("".join(_arguments(rest))))
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
        elif name in ("TS", "TE", "T&"):
            if name != "T&":
                self.flush()
            self.table = self.layout = name != "TE"
            self.tab = self.tab if name == "T&" else "\t"
        elif name == "so":
            self.redirect = True
        elif name in ("UR", "MT"):
            self.say(self.plain(rest.strip()))
        elif name in ("URL", "MTO"):
            address, said, after = [*map(self.plain, _arguments(rest)), "", "", ""][:3]
            self.say(f"{said} <{address}>{after}".strip())
        elif name in ("ds", "as"):
            string, _, value = rest.lstrip().partition(" ")
            before = self.strings.get(string, "") if name == "as" else ""
            self.strings[string] = (before + self.plain(value.lstrip().removeprefix('"')))[:_LONGEST_STRING]
        elif name == "Nm" and not self.name:
            self.name = rest.strip()
            self.say(self.mdoc(name, rest))
        elif name == "Nm" and (not rest.strip() or rest.strip()[0] in _PUNCTUATION):
            self.say(self.mdoc(name, f"{self.name} {rest}"))
        elif name == "OP":
            self.say(self.plain("[" + " ".join(_arguments(rest)) + "]"))
        elif name in _MDOC_WORDS:
            self.say(self.mdoc(name, rest))

    def item(self, name: str, rest: str) -> None:
        self.paragraph()
        given = _arguments(rest)
        term = self.mdoc("No", rest) if name == "It" else self.plain(given[0])
        if term in ("•", "-", "*", "o", "—"):
            self.filling.append(term)
        elif term:
            self.blocks.append(term)

    def mdoc(self, name: str, rest: str) -> str:
        out = "" if name != "Fl" else "-"
        glue = name == "Fl"
        for word in _arguments(rest):
            if word in _MDOC_WORDS:
                if word == "Fl":
                    out, glue = out + " -", True
                elif word in ("Ns", "Ap"):
                    glue = True
                continue
            plain = self.plain(word)
            out += plain if glue or plain[:1] in _PUNCTUATION else f" {plain}"
            glue = False
        return out.strip()

    def plain(self, text: str) -> str:
        return _ESCAPE.sub(self.character, _COMMENT.sub("", text)) if "\\" in text else text

    def character(self, found: re.Match[str]) -> str:
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
            return self.strings.get(string, "")
        return _ONE.get(found["one"] or "", "")

    def close_literal(self) -> None:
        self.flush()
        self.literal = False
        self.tag_next = False


def _after(lines: list[str], position: int, end: str) -> int:
    for at in range(position + 1, len(lines)):
        if "".join(lines[at].split()) == end:
            return at + 1
    return len(lines)


def _arguments(rest: str) -> list[str]:
    return [(quoted.replace('""', '"') if bare == "" else bare) for quoted, bare in _ARGUMENT.findall(rest)]


def _cells(text: str, tab: str) -> str:
    """One line of a tbl(1) table."""
    bare = text.strip()
    if bare in ("_", "=", "T{", "T}"):
        return ""
    return re.sub(f"{re.escape(tab)}+", "  ", bare.removesuffix("T{").removeprefix("T}"))
