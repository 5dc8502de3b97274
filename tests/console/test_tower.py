"""The tower as each of its readers may see it."""

from __future__ import annotations

from lilong.console import views
from lilong.ground.access import SYSTEM, Actor
from lilong.ground.evidence import Artifact
from lilong.ground.house import House

MODEL, CORPUS = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def test_the_chain_of_what_one_may_not_read_has_no_length(house: House) -> None:
    made = {"subjects": [Artifact("elsewhere/model@1", MODEL, "model")], "materials": [Artifact("elsewhere/texts@1", CORPUS, "corpus")]}
    house.db.write(lambda tx: house.evidence.issue(tx, SYSTEM, predicate_type="https://lilong.dev/example/v1", predicate={}, **made))
    assert views.tower(house, SYSTEM, MODEL).reached == 2
    assert views.tower(house, Actor("mei"), MODEL).reached == 0
    assert [tier.floor for tier in views.tower(house, Actor("mei"), "").tiers][-1] == "compute"
