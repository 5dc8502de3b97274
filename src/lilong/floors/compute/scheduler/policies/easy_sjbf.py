from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="easy-sjbf", doc="EASY that backfills the shortest first (Tsafrir et al., TPDS 2007).", backfill="easy-sjbf")
