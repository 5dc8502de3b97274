"""The hub: repositories of models and datasets that the Hugging Face clients use by `HF_ENDPOINT`."""

from lilong.ground.floor import Floor

floor = Floor(
    name="hub",
    start="lilong.floors.hub.service:start",
    api="lilong.floors.hub.api:routes",
    rooms="lilong.floors.hub.pages:rooms",
    commands=(("model", "lilong.floors.hub.commands:model", "Models and their evidence."),),
)
