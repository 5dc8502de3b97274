from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="packing", doc="Shared devices first, then used nodes.", place="packing", backfill="skip")
