"""Corpus versions to look into: made of small texts by the build job's own program, with what a policy drops and with duplicates."""

from __future__ import annotations

import random

from lilong.floors.corpus import service
from lilong.floors.corpus.contract import BuildAsk, Conditions, SourcesAsk, State, Terms, Version
from lilong.ground.access import Actor
from lilong.ground.house import House
from tests.corpus.houses import settle

SAYS = "Written by the harbour's staff; CC BY 4.0."
"""The evidence of each source's licence."""
CONDITIONS = Conditions(["training"], "Harbour staff and others")
WORDS = [
    "anchor",
    "basin",
    "bollard",
    "breeze",
    "bridge",
    "buoy",
    "cable",
    "canal",
    "captain",
    "cargo",
    "chart",
    "coast",
    "compass",
    "crane",
    "crew",
    "current",
    "deck",
    "derrick",
    "dock",
    "drift",
    "eddy",
    "engine",
    "estuary",
    "fender",
    "ferry",
    "fog",
    "gale",
    "gauge",
    "harbour",
    "hatch",
    "hull",
    "jetty",
    "keel",
    "lantern",
    "leeward",
    "lock",
    "mast",
    "mooring",
    "mud",
    "oar",
    "pier",
    "pilot",
    "plank",
    "port",
    "pump",
    "quay",
    "reef",
    "rigging",
    "rope",
    "rudder",
    "sail",
    "sand",
    "shoal",
    "signal",
    "silt",
    "slack",
    "sluice",
    "sounding",
    "spring",
    "stern",
    "swell",
    "tackle",
    "tide",
    "tiller",
    "timber",
    "tow",
    "tug",
    "valve",
    "vessel",
    "wake",
    "warp",
    "watch",
    "wave",
    "weir",
    "wharf",
    "winch",
]


def paragraph(number: int, topic: str, sentences: int = 14) -> str:
    """Plain prose of which no two are alike."""
    drawn = random.Random(f"{topic} {number}")
    said = [f"This page is about {topic}."]
    for at in range(sentences):
        said.append(" ".join(drawn.sample(WORDS, drawn.randint(8, 14))).capitalize() + ".")
        if at % 4 == 3:
            said.append("\n")
    return " ".join(said)


def records() -> list[dict[str, str]]:
    """Documents of two sources: good ones, near duplicates, a copy, and what a policy drops."""
    found = [{"source": "harbour-manual", "uri": f"manual/{n}.txt", "text": paragraph(n, "the harbour crane")} for n in range(30)]
    found += [{"source": "tide-notes", "uri": f"notes/{n}.txt", "text": paragraph(100 + n, "the tide table", 9)} for n in range(20)]
    near = paragraph(3, "the old pier", 40)
    other = f"{near} The lamps are lit at dusk."
    found += [
        {"source": "harbour-manual", "uri": "manual/long.txt", "text": near},
        {"source": "tide-notes", "uri": "notes/long.txt", "text": other.replace("about the old pier", "about the <b>old</b> pier", 1)},
        {"source": "tide-notes", "uri": "notes/copy.txt", "text": paragraph(5, "the harbour crane")},
        {"source": "tide-notes", "uri": "notes/short.txt", "text": "See the other page."},
        {"source": "tide-notes", "uri": "notes/numbers.txt", "text": "\n".join(f"{n} {n * n} {n**3}" for n in range(400))},
    ]
    return found


def built(house: House, actor: Actor, repository: str, key: str, given: list[dict[str, str]], terms: Terms = Terms.PRIVATE) -> Version:
    """Fetch the records as texts of their sources, and build a version of them."""
    organisation = repository.partition("/")[0]

    def keep(text: str) -> str:
        return service.keep_text(house, actor, organisation, text.encode()).digest

    kept = {f"{one['source']}/{one['uri']}": keep(one["text"]) for one in given}
    names = sorted({one["source"] for one in given})
    kept["licences.toml"] = keep(
        "".join(f'[sources.{name}]\npath = "{name}"\nlicence = "CC-BY-4.0"\nstatement = "{SAYS}"\n\n' for name in names)
    )
    asked = service.fetch(house, actor, SourcesAsk(organisation, key, texts=kept, terms=terms, conditions=CONDITIONS))
    settle(house)
    version = service.build(house, actor, BuildAsk(organisation, key, [asked.id], repository, {"held_out": 0.2}))
    settle(house)
    made = service.version(house, actor, version.id)
    assert made.state is State.DONE, made.error
    return made
