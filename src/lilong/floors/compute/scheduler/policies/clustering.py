from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="clustering", doc="Beside tasks of the same size (Gandiva, OSDI 2018).", place="clustering", backfill="skip")
