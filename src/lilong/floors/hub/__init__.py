"""The hub: repositories of models and datasets that the Hugging Face clients use by `HF_ENDPOINT`."""

from lilong.ground.floor import Floor

floor = Floor(
    name="hub",
    start="lilong.floors.hub.service:start",
    api="lilong.floors.hub.api:routes",
    pages="lilong.floors.hub.pages:routes",
    rooms="lilong.floors.hub.pages:rooms",
    mounts=(("/xet/", "lilong.floors.hub.api.cas:asgi"),),
    commands=(
        ("model", "lilong.floors.hub.commands.model:model", "Models and their evidence."),
        ("hub", "lilong.floors.hub.commands.hub:hub", "Storage, and repositories from and to elsewhere."),
    ),
)
