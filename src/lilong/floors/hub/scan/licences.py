"""Which licence a repository says it has: by its card, by the text of its licence file, and whether the two agree."""

from __future__ import annotations

import re
from dataclasses import dataclass

LIMIT = 256 << 10  # bytes of a licence file that are read
_NAMES = re.compile(r"(?i)(?:licen[cs]e|copying|unlicense)(?:\.(?:md|txt|rst))?")

# Words that stand in the text of one licence and of no other here; the first that fits counts. The ids are those of cards (lower-case SPDX).
_TEXTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("agpl-3.0", ("gnu affero general public license", "version 3")),
    ("lgpl-3.0", ("gnu lesser general public license", "version 3")),
    ("lgpl-2.1", ("gnu lesser general public license", "version 2.1")),
    ("gpl-3.0", ("gnu general public license", "version 3, 29 june 2007")),
    ("gpl-2.0", ("gnu general public license", "version 2, june 1991")),
    ("apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("apache-2.0", ("licensed under the apache license, version 2.0",)),
    ("mpl-2.0", ("mozilla public license", "version 2.0")),
    ("epl-2.0", ("eclipse public license - v 2.0",)),
    ("bsl-1.0", ("boost software license - version 1.0",)),
    ("cc0-1.0", ("cc0 1.0 universal",)),
    ("cc-by-nc-nd-4.0", ("attribution-noncommercial-noderivatives 4.0 international",)),
    ("cc-by-nc-sa-4.0", ("attribution-noncommercial-sharealike 4.0 international",)),
    ("cc-by-nc-4.0", ("attribution-noncommercial 4.0 international",)),
    ("cc-by-nd-4.0", ("attribution-noderivatives 4.0 international",)),
    ("cc-by-sa-4.0", ("attribution-sharealike 4.0 international",)),
    ("cc-by-4.0", ("attribution 4.0 international",)),
    ("odc-by", ("open data commons attribution license",)),
    ("odbl", ("open database license",)),
    ("cdla-permissive-2.0", ("community data license agreement - permissive - version 2.0",)),
    ("bigscience-openrail-m", ("bigscience open rail-m",)),
    ("creativeml-openrail-m", ("creativeml open rail-m",)),
    ("openrail++", ("creativeml open rail++-m",)),
    ("llama3.3", ("llama 3.3 community license agreement",)),
    ("llama3.2", ("llama 3.2 community license agreement",)),
    ("llama3.1", ("llama 3.1 community license agreement",)),
    ("llama3", ("llama 3 community license agreement",)),
    ("llama2", ("llama 2 community license agreement",)),
    ("gemma", ("gemma terms of use",)),
    ("unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("bsd-3-clause", ("redistributions of source code must retain", "redistributions in binary form must reproduce", "neither the name of")),
    ("bsd-2-clause", ("redistributions of source code must retain", "redistributions in binary form must reproduce")),
    ("isc", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted",)),
    ("mit", ("permission is hereby granted, free of charge, to any person obtaining a copy", "the software is provided \"as is\"")),
)  # fmt: skip
# Families whose members a card may name by a shorter or older word.
_SAME = {"gpl": "gpl-3.0", "lgpl": "lgpl-3.0", "bsd": "bsd-3-clause", "cc": "cc0-1.0", "apache": "apache-2.0", "openrail": "bigscience-openrail-m", "gpl-3.0-only": "gpl-3.0", "gpl-3.0-or-later": "gpl-3.0"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Licence:
    """`card` and `text` are ids or empty; `conflict` says in one sentence how they disagree, or is empty."""

    card: str
    text: str
    file: str
    conflict: str


def is_licence_file(path: str) -> bool:
    return "/" not in path and _NAMES.fullmatch(path) is not None


def of_text(text: str) -> str:
    """The id of the licence whose text this is; empty for one that is not known here."""
    flat = " ".join(re.sub(r"[\"“”]", '"', text.casefold()).split())
    for identity, words in _TEXTS:
        if all(word in flat for word in words):
            return identity
    return ""


def judged(card: str, file: str, text: str) -> Licence:
    """`file` is empty where there is no licence file; its text is compared only where it is known."""
    found = of_text(text) if file else ""
    said = card.casefold().strip()
    conflict = ""
    if said and found and said not in ("other", "unknown") and _SAME.get(said, said) != found:
        conflict = f"the card says {said}, and {file} is the text of {found}"
    return Licence(said, found, file, conflict)
