"""The recipe of `english.arrow`, the vocabulary that comes with this package.

    apt-get download linux-doc-6.1 python3.11-doc perl-doc postgresql-doc-15 git-doc sqlite3-doc python-django-doc \\
        libreoffice-help-en-us manpages manpages-dev debian-reference-en gnome-user-docs
    python -m lilong.floors.corpus.curation.words.build *.deb

Of the English texts in the archives, each text once, the chunks that occur in most texts are kept: single words in the order of their
bytes, no running text. NOTICE.txt names the archives. `--held-out 0.1` leaves out a tenth of the texts and measures on them.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lilong.floors.corpus.curation.extract import Unreadable, extract, unpack
from lilong.floors.corpus.curation.formats import text_format
from lilong.floors.corpus.curation.texts import Texts
from lilong.floors.corpus.curation.words.lookup import LONGEST_CHUNK
from lilong.floors.corpus.curation.words.vocabulary import Vocabulary

CHUNKS = 140_000
HERE = Path(__file__).parent


def english(path: str) -> bool:
    """Whether a file is of the English part of its archive, by its path."""
    parts = path.split("/")
    if "translations" in parts or "locale" in parts:
        return False
    return "/help/" not in path or "/help/C/" in path or "/libreoffice/" in path


def texts(archives: list[Path]) -> Iterator[tuple[str, str]]:
    """(digest, text) of every English document in the archives, each text once."""
    from lilong.floors.corpus.backends.source_set import ArchiveFiles

    seen: set[str] = set()
    for archive in sorted(archives):
        files = ArchiveFiles(archive)
        for path in files.paths():
            name = f"{path}.html" if path.endswith(".page") else path
            if not english(path) or text_format(name) is None:
                continue
            data = unpack(name, files.read(path))
            found = data if isinstance(data, Unreadable) else extract(name, data)
            if isinstance(found, Unreadable):
                continue
            digest = hashlib.sha256(found.text.encode()).hexdigest()
            if digest not in seen:
                seen.add(digest)
                yield digest, found.text
        files.close()


def chosen(counts: Counter[str], size: int) -> list[str]:
    """The chunks in most texts; of equals, those first in the alphabet."""
    short = (chunk for chunk in counts if len(chunk.encode()) <= LONGEST_CHUNK)
    return sorted(sorted(short, key=lambda chunk: (-counts[chunk], chunk))[:size])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("archives", nargs="+", type=Path)
    asked.add_argument("--chunks", type=int, default=CHUNKS)
    asked.add_argument("--held-out", type=float, default=0.0, metavar="SHARE")
    asked.add_argument("--out", type=Path, default=HERE / "english.arrow")
    options = asked.parse_args()
    counts: Counter[str] = Counter()
    held: list[str] = []
    for digest, text in texts(options.archives):
        if int(digest[:8], 16) < options.held_out * 2**32:
            held.append(text)
        else:
            counts.update(set(text.split()))
    vocabulary = Vocabulary()
    vocabulary.tokens(Texts.of(chosen(counts, options.chunks)))
    digest = vocabulary.save(options.out)
    print(f"{vocabulary.entries} of {len(counts)} chunks, {options.out.stat().st_size} bytes, {digest}")
    if held:
        fixed = Vocabulary.open(options.out, limit=0)
        fixed.tokens(Texts.of(held))
        print(f"held out: {len(held)} texts, {fixed.chunks} chunks, {1 - fixed.misses / fixed.chunks:.4f} of them known")


if __name__ == "__main__":
    main()
