"""Evaluation: what a model can do, measured by a protocol that was signed beforehand, with honest intervals."""

from lilong.ground.floor import Floor

floor = Floor(
    name="evaluation",
    start="lilong.floors.evaluation.service:start",
    api="lilong.floors.evaluation.api:routes",
    pages="lilong.floors.evaluation.pages:routes",
    rooms="lilong.floors.evaluation.pages:rooms",
    commands=(("report", "lilong.floors.evaluation.commands:report", "Test reports: new model against base, with intervals."),),
)
