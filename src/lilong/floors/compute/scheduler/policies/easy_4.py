from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="easy-4",
    doc="EASY that promises a start not to the first only but to the first four that do not fit.",
    backfill="easy",
    reservations=4,
)
