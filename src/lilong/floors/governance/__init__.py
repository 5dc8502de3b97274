"""Registration of models against evidence profiles, reviews by others, suspension when evidence falls."""

from lilong.ground.floor import Floor

floor = Floor(
    name="governance",
    start="lilong.floors.governance.service:start",
    api="lilong.floors.governance.api:routes",
    rooms="lilong.floors.governance.pages:rooms",
    commands=(
        ("registration", "lilong.floors.governance.commands:registration", "Registrations: what may be served, and why."),
        ("statement", "lilong.floors.governance.commands:statement", "Signed statements: list, show, revoke."),
    ),
)
