from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="sjf", doc="The shortest first, by the time that is planned with; nobody is overtaken in that order.", order="shortest"
)
