from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="gavel",
    doc="Every six minutes those first who got least of what is fair on unequal devices; max-min by a linear program (Gavel, OSDI 2020).",
    order="rounds",
    backfill="skip",
    preempts="later",
    least_run=360,
    round=360,
)
