from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="drf-tree",
    doc="Fair down the tree of tenants, by dominant share (DRF, NSDI 2011), with EASY; who owns a quota has it back from who borrows it.",
    order="fair",
    fractions="fgd",
    backfill="easy",
    preempts="borrowers",
    backoff=300,
)
