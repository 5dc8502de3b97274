"""Small texts that look like documentation, made by rule, so that every test can say what should become of them."""

from __future__ import annotations

import random
from pathlib import Path

VERBS = ("opens", "closes", "reads", "writes", "locks", "renames", "copies", "lists", "counts", "checks", "moves", "joins")
NOUNS = ("gate", "lane", "household", "well", "roof", "wall", "kitchen", "stair", "letter box", "courtyard", "lantern", "ledger")
HOW = ("slowly", "at dawn", "without noise", "for the neighbours", "with a key", "when it rains", "in winter", "every evening")
HAN = "里弄房屋邻居大门水井屋顶墙壁厨房楼梯信箱院子灯笼账本清晨傍晚打开关上阅读书写检查移动"


def english(seed: int, sentences: int = 40) -> str:
    pick = random.Random(seed)
    parts = [
        f"The {pick.choice(NOUNS)} number {pick.randint(1, 9_999)} {pick.choice(VERBS)} the {pick.choice(NOUNS)} {pick.choice(HOW)}."
        for _ in range(sentences)
    ]
    return "\n\n".join(" ".join(parts[at : at + 4]) for at in range(0, sentences, 4))


def chinese(seed: int, sentences: int = 40) -> str:
    pick = random.Random(seed)
    return "\n\n".join("".join(pick.choice(HAN) for _ in range(24)) + "。" for _ in range(sentences))


def html(text: str) -> str:
    paragraphs = "".join(f"<p>{part}</p>\n" for part in text.split("\n\n"))
    return f"<html><head><title>t</title></head><body><nav>Next</nav><main>{paragraphs}</main></body></html>"


def folder(at: Path, documents: int = 24, licence: str | None = "SPDX-License-Identifier: CC-BY-4.0\n") -> Path:
    """English pages as HTML and as text beside it, Chinese pages, one exact copy, and four files that must be dropped."""
    (at / "pages").mkdir(parents=True)
    (at / "source").mkdir()
    for number in range(documents):
        text = english(number)
        (at / "pages" / f"page{number:02d}.html").write_text(html(text), encoding="utf-8")
        if number % 3 == 0:
            (at / "source" / f"page{number:02d}.txt").write_text(text + "\n\nA last line of the text version.", encoding="utf-8")
        (at / "pages" / f"zh{number:02d}.txt").write_text(chinese(number), encoding="utf-8")
    (at / "pages" / "copy.html").write_text(html(english(0)), encoding="utf-8")
    (at / "pages" / "short.txt").write_text("Too short to teach anybody anything.", encoding="utf-8")
    (at / "pages" / "latin.txt").write_bytes(english(900).replace("e", "é").encode("latin-1"))
    (at / "pages" / "again.txt").write_text("The same line again and again, and nothing else at all.\n" * 40, encoding="utf-8")
    (at / "pages" / "zahlen.txt").write_text(
        "Viele Familien wohnen hinter diesem Tor und teilen den Brunnen im Hof. " * 12, encoding="utf-8"
    )
    (at / "pages" / "picture.png").write_bytes(b"\x89PNG")
    if licence is not None:
        (at / "LICENSE").write_text(licence, encoding="utf-8")
    return at
