"""Serving: models behind one OpenAI-compatible gateway, metered to the token."""

from lilong.ground.floor import Floor

floor = Floor(
    name="serving",
    start="lilong.floors.serving.service:start",
    api="lilong.floors.serving.api:routes",
    rooms="lilong.floors.serving.pages:rooms",
    commands=(
        ("deployment", "lilong.floors.serving.commands:deployment", "Serve models, list and stop what is served."),
        ("receipt", "lilong.floors.serving.commands:receipt", "Look up what an answer was and what it cost."),
        ("usage", "lilong.floors.serving.commands:usage", "Tokens used, by organisation and day."),
        ("ask", "lilong.floors.serving.commands:ask", "Ask a served model something."),
    ),
    mounts=(("/v1/", "lilong.floors.serving.api:asgi"),),
)
