from lilong.floors.compute.scheduler.policy import Policy

policy = Policy(
    name="qssf",
    doc="The smallest first, by expected run time, from the user's last jobs, times devices (Helios: Hu et al., SC 2021).",
    order="predicted",
)
