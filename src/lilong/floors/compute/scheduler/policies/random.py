from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="random", doc="Any node that fits.", place="random", backfill="skip")
