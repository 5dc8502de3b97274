"""What a large run would take: arithmetic that a reader can do again, and the guide shows what the command prints."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lilong.floors.corpus.commands import corpus
from lilong.floors.corpus.curation import scale

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "curation-at-scale.md"
SHOWN = re.findall(
    r"^```\nlilong corpus (plan [^\n]*)\n```\n```text\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("command", "table"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_guide_shows_what_the_command_prints(command: str, table: str) -> None:
    found = CliRunner().invoke(corpus, shlex.split(command))
    assert found.exit_code == 0, found.output
    assert [line.rstrip() for line in found.output.splitlines()] == table.splitlines()


def test_there_are_plans_in_the_guide() -> None:
    assert len(SHOWN) == 2


def test_figures_follow_from_rates_and_shares() -> None:
    rates = scale.Rates(measure_mb_s=8, engine=1.25)
    found = scale.plan(scale.Text(144e12, 4_000), scale.Cluster(1_000), rates)
    first = found.stages[0]
    assert first.core_hours == pytest.approx(144e12 / 8e6 * 1.25 / 3_600)
    assert first.computing == pytest.approx(first.core_hours / 1_000)
    assert found.stages[2].shuffled == pytest.approx(36e9 * 0.7 * 0.35 * 14 * 22 / 1e12)
    assert found.compute == pytest.approx(found.hours * 1_000 * 0.04)
    assert found.hours == pytest.approx(sum(max(one.computing, one.moving) for one in found.stages))


def test_twice_the_text_takes_twice_as_long_and_one_file_for_a_table_is_what_all_wait_for() -> None:
    text = scale.Text(1e12)
    once, twice = scale.plan(text), scale.plan(replace(text, bytes=2e12))
    assert twice.hours == pytest.approx(2 * once.hours)
    assert twice.scratch == pytest.approx(2 * once.scratch)
    alone = scale.plan(text, replace(scale.Cluster(), table_files=1))
    assert alone.stages[-1].computing == pytest.approx(alone.stages[-1].core_hours)


@pytest.mark.parametrize("size", ["", "much", "-3TB", "0", "180XB", "nan", "inf"])
def test_a_size_that_means_nothing_is_refused(size: str) -> None:
    found = CliRunner().invoke(corpus, ["plan", "--bytes", size])
    assert found.exit_code != 0
    assert "is not a size" in str(found.exception)
