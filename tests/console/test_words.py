"""Every text of every page has its Chinese words, and nothing is left over from pages that are gone."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import lilong

SRC = Path(lilong.__file__).parent
TEMPLATES = sorted(SRC.glob("console/templates/*.html")) + sorted(SRC.glob("floors/*/templates/**/*.html"))


def catalogue() -> dict[str, str]:
    words: dict[str, str] = json.loads((SRC / "console" / "words" / "zh.json").read_text(encoding="utf-8"))
    return words


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_every_text_of_a_page_has_its_chinese_words(template: Path) -> None:
    texts = {double or single for double, single in re.findall(r"""_\(\s*(?:"([^"]+)"|'([^']+)')""", template.read_text(encoding="utf-8"))}
    assert texts - set(catalogue()) == set()


def test_every_state_has_its_chinese_words() -> None:
    from lilong.chain.service import STATES
    from lilong.floors import ORDER
    from lilong.floors.compat.contract import Verdict
    from lilong.floors.compute.contract import JobState
    from lilong.floors.governance.contract import Standing, State

    states = {*STATES, *ORDER, *(s.value for kind in (JobState, State, Standing, Verdict) for s in kind)}
    assert states - set(catalogue()) == set()


def test_every_reason_to_wait_has_its_chinese_words() -> None:
    from lilong.floors.compute.rules.telling import SENTENCES

    assert set(SENTENCES.values()) - set(catalogue()) == set()


def test_every_text_of_a_picture_has_its_chinese_words() -> None:
    for module in SRC.glob("floors/*/pages/**/*.py"):
        texts = set(re.findall(r"""(?<![\w.])_\("([^"]+)"[,)]""", module.read_text(encoding="utf-8")))
        assert texts - set(catalogue()) == set(), module


def test_every_sentence_about_a_waiting_job_has_its_chinese_words() -> None:
    from lilong.floors.compute.rules import recalling

    compute = SRC / "floors" / "compute"
    found: set[str] = set()
    for module in (*compute.glob("rules/*.py"), compute / "service" / "why.py"):
        source = module.read_text(encoding="utf-8")
        found |= set(re.findall(r"""(?:sentence = |ReasonCode\.\w+: )"([^"]+)\"""", source))
        calls = [(ast.unparse(one.func), one.args) for one in ast.walk(ast.parse(source)) if isinstance(one, ast.Call)]
        given = [
            one for called, args in calls for one in (args if called in ("said", "counted") else args[1:] if called == "_Part" else ())
        ]
        found |= {one.value for one in given if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    found |= {*recalling.TEMPLATES}
    assert "It goes first" in found
    assert found - set(catalogue()) == set()


def test_every_figure_of_what_if_has_its_chinese_words() -> None:
    from lilong.floors.compute.pages.trying import FIGURES
    from lilong.floors.compute.scheduler.simulation import comparing

    assert set(FIGURES) == set(comparing.FIGURES)
    assert {words for words, _ in FIGURES.values()} - set(catalogue()) == set()


def test_every_code_of_a_corpus_has_its_words_in_both_languages() -> None:
    from lilong.floors.corpus.curation.runs import profiles
    from lilong.floors.corpus.curation.versions.sources import STEPS
    from lilong.floors.corpus.pages import codes

    every = [profiles.profile(profiles.Setup(name)) for name in profiles.names()]
    said = {code for one in every for rule in one.policy().rules for code in (rule.step, rule.reason)} | {*STEPS, *STEPS.values()}
    said |= {code for one in every for code in one.columns}
    tell = codes.teller(lambda english, **values: "".join(sorted(catalogue()[english])))
    assert {code for code in said if not tell(code)} == set()
    assert {*codes.MEASURES.values(), *codes.DETAILS, *codes.RUNS} - set(catalogue()) == set()


def test_translations_keep_their_placeholders() -> None:
    for english, chinese in catalogue().items():
        assert set(re.findall(r"\{\w+[^{}]*\}", english)) == set(re.findall(r"\{\w+[^{}]*\}", chinese)), english
