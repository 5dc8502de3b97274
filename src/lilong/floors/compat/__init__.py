"""Does this model run correctly on this software and hardware? See README.md."""

from lilong.ground.floor import Floor

floor = Floor(
    name="compat",
    start="lilong.floors.compat.service:start",
    api="lilong.floors.compat.api:routes",
    rooms="lilong.floors.compat.pages:rooms",
    commands=(("certificate", "lilong.floors.compat.commands:certificate", "On which software a model runs correctly."),),
)
