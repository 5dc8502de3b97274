from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="conservative",
    doc="The first hundred that do not fit are each promised a start that nobody later may delay (Mu'alem & Feitelson, TPDS 2001).",
    backfill="conservative",
    reservations=100,
)
