"""Jobs: one durable queue, run in a sandbox by the sites."""

from lilong.ground.floor import Floor

floor = Floor(
    name="compute",
    start="lilong.floors.compute.service:start",
    api="lilong.floors.compute.api:routes",
    pages="lilong.floors.compute.pages:routes",
    rooms="lilong.floors.compute.pages:rooms",
    commands=(
        ("job", "lilong.floors.compute.commands.job:job", "Submit, follow and cancel jobs."),
        ("compute", "lilong.floors.compute.commands.compute:compute", "Settings, sites, and what policies would do."),
        ("secret", "lilong.floors.compute.commands.secret:secret", "Values that jobs are given and nobody is shown."),
    ),
)
