"""Real documents for the corpus benches: the documentation of 19 Debian packages as JSON lines (id, source, uri, text).

    python bench/corpus_texts.py FOLDER

About 100 MB are downloaded with apt, without root, into FOLDER; FOLDER/documents.jsonl then holds some 42,000 documents, 256 MB, mostly
English and Chinese, and 40 more languages. What is there already is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from lilong.floors.corpus.backends.debian import DebianPackages
from lilong.floors.corpus.backends.source_set import ArchiveFiles
from lilong.floors.corpus.curation.extract import Extracted, Unreadable, extract, unpack
from lilong.floors.corpus.curation.formats import text_format

PACKAGES = (
    "linux-doc", "python3-doc", "gnome-user-docs", "perl-doc", "postgresql-doc", "sqlite3-doc", "python-django-doc", "git-doc",
    "libreoffice-help-en-us", "libreoffice-help-zh-cn", "manpages", "manpages-dev", "manpages-zh", "debian-reference-en",
    "debian-reference-zh-cn", "debian-faq-zh-cn", "maint-guide-zh-cn", "debian-handbook", "installation-guide-amd64",
)  # fmt: skip


def texts(archive: Path) -> Iterator[tuple[str, str]]:
    """Path and text of each document of a package. GNOME's .page files are read as the XML with paragraphs that they are."""
    files = ArchiveFiles(archive)
    for path in files.paths():
        page = path.endswith(".page")
        if not page and text_format(path) is None:
            continue
        data = unpack(path, files.read(path))
        found = data if isinstance(data, Unreadable) else extract(f"{path}.html" if page else path, data)
        if isinstance(found, Extracted):
            yield path, found.text
    files.close()


def made(folder: Path) -> Path:
    """FOLDER/documents.jsonl."""
    out = folder / "documents.jsonl"
    if out.exists():
        return out
    folder.mkdir(parents=True, exist_ok=True)
    fetched = DebianPackages(PACKAGES).fetch(
        folder / "set", folder / "state", lambda step, of, what: print(f"{step}/{of} {what}", flush=True)
    )
    part = out.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for source in fetched.sources:
            count = 0
            for path, text in texts(folder / "set" / source.archive):
                row = {"id": hashlib.sha256(text.encode()).hexdigest(), "source": source.name, "uri": path, "text": text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
            print(f"{source.name} {source.version}: {count} documents", flush=True)
    os.replace(part, out)
    return out


def of_file(path: Path, out: Path) -> Path:
    """JSON lines of one's own with what the benches read: `source` and `uri` besides `text`. The file itself, if it has them."""
    with path.open(encoding="utf-8") as lines:
        if {"source", "uri", "text"} <= json.loads(next(lines)).keys():
            return path
        lines.seek(0)
        with out.open("w", encoding="utf-8") as file:
            for number, line in enumerate(lines):
                row = {"id": "", "source": path.stem, "uri": f"{path.name}#{number}", **json.loads(line)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return out


def of_folder(folder: Path, out: Path) -> Path:
    """The texts of a folder of one's own, as JSON lines; the folders right in it are the sources."""
    with out.open("w", encoding="utf-8") as file:
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and text_format(str(path)) is not None):
            data = unpack(str(path), path.read_bytes())
            found = data if isinstance(data, Unreadable) else extract(str(path), data)
            if isinstance(found, Extracted):
                uri = path.relative_to(folder)
                row = {"id": hashlib.sha256(found.text.encode()).hexdigest(), "source": uri.parts[0], "uri": str(uri), "text": found.text}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return out


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(made(parser.parse_args().folder))
