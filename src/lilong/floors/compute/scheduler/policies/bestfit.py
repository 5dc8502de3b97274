from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="bestfit", doc="The node with the least cores and devices left.", place="bestfit", backfill="skip")
