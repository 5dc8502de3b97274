"""The recipe of `characters.json`: what datatrove's FineWeb filter and Python's \\d ask of single characters.

python -m lilong.floors.corpus.curation.fineweb.record        (where datatrove is installed; it is Apache-2.0)
"""

from __future__ import annotations

import json
import re
import sys
import unicodedata
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from lilong.floors.corpus.curation.words.record import ranges

OUT = Path(__file__).with_name("characters.json")


def main() -> None:
    terminal = import_module("datatrove.utils.text").TERMINAL_PUNCTUATION
    codes = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    rules = {
        "source": f"datatrove {version('datatrove')} (Apache-2.0), Unicode {unicodedata.unidata_version}, Python {sys.version.split()[0]}",
        "terminal": ranges(sorted(ord(mark) for mark in terminal)),
        "decimal": ranges(code for code in codes if re.fullmatch(r"\d", chr(code))),
    }
    OUT.write_text(json.dumps(rules, indent=0) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
