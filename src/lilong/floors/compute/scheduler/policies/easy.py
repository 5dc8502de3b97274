from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="easy", doc="In the order of submission; others may start early if they do not delay the first (Lifka 1995).", backfill="easy"
)
