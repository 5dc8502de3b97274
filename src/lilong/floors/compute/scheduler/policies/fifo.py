from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(name="fifo", doc="In the order of submission; nobody is overtaken.")
