"""Base models and training runs: a corpus version and a base make a model revision with its provenance. See README.md."""

from lilong.ground.floor import Floor

floor = Floor(
    name="training",
    start="lilong.floors.training.service:start",
    api="lilong.floors.training.api:routes",
    rooms="lilong.floors.training.service:rooms",
    commands=(("training", "lilong.floors.training.commands:training", "Base models imported, and models trained on a corpus."),),
)
