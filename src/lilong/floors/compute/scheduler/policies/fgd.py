from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="fgd", doc="The node whose free devices lose the least use (Weng et al., ATC 2023).", place="fgd", backfill="skip")
