from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="srtf",
    doc="The shortest remaining time first; whoever has more of it left gives way, and goes on later where it was.",
    order="remaining",
    backfill="skip",
    preempts="later",
)
