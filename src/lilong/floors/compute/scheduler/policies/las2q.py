from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="las2q",
    doc="Who has had less than an hour of one device goes before who has had more, else first come, first served (Tiresias, NSDI 2019).",
    order="attained",
    backfill="skip",
    preempts="later",
)
