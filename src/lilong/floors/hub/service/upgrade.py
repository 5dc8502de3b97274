"""What a house that was made by an earlier version lacks, worked out when it is opened."""

from __future__ import annotations

from lilong.floors.hub import store
from lilong.floors.hub.git import trees
from lilong.floors.hub.rules import card, names
from lilong.ground.db import Tx
from lilong.ground.house import House

from . import reading

_TOGETHER = 200


def places(house: House) -> None:
    """Lines, depths and changes of commits from before they were kept, and what lists show of their repositories. Goes on where it stopped."""

    def some(tx: Tx) -> int:
        found = store.without_place(tx, _TOGETHER)
        load = reading.loader(tx)
        for held, commit in found:
            placed = store.set_place(tx, held, commit)
            parent = store.commit(tx, held, commit.parent) if commit.parent else None
            before = parent.tree if parent is not None else trees.EMPTY
            store.add_changes(tx, held, placed, [path for path, _, _ in trees.changed(load, before, commit.tree)])
            if store.ref(tx, held, names.MAIN) == commit.id:
                about = reading.card_in(house, tx, commit.tree)
                store.set_card(tx, held, about.metadata, card.tags(about.metadata, held.kind))
                store.recount(tx, held)
        return len(found)

    while house.db.write(some):
        pass
