from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="dotprod", doc="By the dot product of request and what is free (Tetris, SIGCOMM 2014).", place="dotprod", backfill="skip"
)
