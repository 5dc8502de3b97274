"""What was written down of ends and waits is told in the reader's language; what others said stays as it was."""

from __future__ import annotations

import ast
import json
import re
from itertools import product
from pathlib import Path

import pytest
from markupsafe import Markup

import lilong
from lilong.floors.compute.backends.slurm import reading
from lilong.floors.compute.contract import Ending, Exit, Phase, Sight
from lilong.floors.compute.pages.telling import telling
from lilong.floors.compute.rules.recalling import recalled
from lilong.floors.compute.rules.settling import settle
from lilong.floors.compute.rules.wording import Quoted, Said

COMPUTE = Path(lilong.__file__).parent / "floors" / "compute"
ZH = json.loads((COMPUTE.parents[1] / "console" / "words" / "zh.json").read_text("utf-8"))
CHINESE = telling(lambda template: str(ZH.get(template, template)), "zh")
ENGLISH = telling(lambda template: template, "en")


def spoken(module: Path) -> set[str]:
    """What it says in texts of several words with something put in, as they come out with a 7 in each place."""
    made = (one for one in ast.walk(ast.parse(module.read_text("utf-8"))) if isinstance(one, ast.JoinedStr))
    texts = {"".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in one.values) for one in made}
    return {text for text in texts if text.startswith(("it ", "the kernel "))}


def test_every_end_that_is_settled_is_recalled() -> None:
    exits = [None, *(Exit(code, sign, "", 1, 1, 1) for code, sign in ((0, None), (1, None), (None, 9), (None, 63)))]
    for phase, ending, told, service, cancelled, last in product(
        (Phase.FINISHED, Phase.LOST), Ending, exits, (0, 1), (0, 1), ("", "boom!")
    ):
        sight = Sight(phase, ending=ending, exit=told)
        for preempted in (False, True):
            verdict = settle(
                sight, service=bool(service), cancelled=bool(cancelled), attempt=1, stops=0, attempts=1, last_line=last, preempted=preempted
            )
            assert isinstance(recalled(verdict.reason), Said), verdict
            assert recalled(verdict.reason) == verdict.reason


def test_what_supervisors_and_slurm_say_is_recalled() -> None:
    limits = spoken(COMPUTE / "supervisor" / "watch.py") | spoken(COMPUTE / "supervisor" / "left.py")
    assert len(limits) >= 6
    rows = [reading.Row(1, "PENDING", reason, ()) for reason in (*reading._REASONS, "AssocGrpCpuLimit")]
    texts = limits | {why for _, why in reading._ENDINGS.values()} | {row.waits_for for row in rows} | {"it starts after job-1 and 3 more"}
    assert {text for text in texts if not isinstance(recalled(text), Said)} == set()


@pytest.mark.parametrize(
    ("text", "chinese"),
    [
        ("it ended with status 1", "以退出码 1 结束"),
        ("it ended with status 3: no <corpus> here", '以退出码 3 结束：<span lang="en">no &lt;corpus&gt; here</span>'),
        ("it ended with status 3: 没有语料", '以退出码 3 结束：<span lang="">没有语料</span>'),
        ("SIGKILL ended it: {code}", '被信号 SIGKILL 终止：<span lang="en">{code}</span>'),
        ("job-a, which it needed, is lost", "它所依赖的 job-a 失联"),
        (
            "it was handed to an engine, in whose own queue it waits: Slurm: Priority (others go first)",
            "已交给引擎，正在引擎自己的队列中等待：Slurm：Priority（前面还有其他作业）",
        ),
        (
            "it was handed to an engine, in whose own queue it waits: 0/4 nodes are available",
            '已交给引擎，正在引擎自己的队列中等待：<span lang="en">0/4 nodes are available</span>',
        ),
        ("no such thing was ever said here", '<span lang="en">no such thing was ever said here</span>'),
    ],
)
def test_the_houses_words_are_translated_and_others_are_marked(text: str, chinese: str) -> None:
    assert CHINESE(text) == Markup(chinese)
    assert re.sub("</?span[^>]*>", "", ENGLISH(text)) == Markup.escape(text)


def test_words_of_others_cannot_fill_the_houses_places() -> None:
    told = recalled("it ended with status 1: it was cancelled {0.__class__}")
    assert isinstance(told, Said) and isinstance(told.values["quoted"], Quoted)
    assert "{0.__class__}" in CHINESE(told)
