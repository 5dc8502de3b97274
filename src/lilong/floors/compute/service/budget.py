"""The gate "is there budget": a tenant's allowance for the month against what its jobs may cost at worst, or did cost."""

from __future__ import annotations

from lilong.floors.compute.service import spending
from lilong.floors.compute.store import money
from lilong.floors.compute.store import settings as declared
from lilong.ground.db import Tx
from lilong.ground.gates import Answer
from lilong.ground.house import House

GATE = "is-there-budget"


def start(house: House) -> None:
    def answer(*, tx: Tx, organisation: str, project: str, cost: int) -> Answer:
        return _covered(house, tx, organisation, project, cost)

    house.gates.answer(GATE, answer)


def _covered(house: House, tx: Tx, organisation: str, project: str, cost: int) -> Answer:
    """`cost`: millionths of money that are wanted besides. Only tenants with an allowance have a limit; a tenant's is for all below it too."""
    _, settings = declared.current(tx)
    limited = [tenant for tenant in settings.above(settings.tenant(organisation, project)) if tenant.allowance is not None]
    if not limited:
        return Answer(True, "no allowance is set")
    now = house.clock.now()
    spent: dict[str, int] = {}
    for (owner, part), amount in (*money.spent(tx, spending.month(now)).items(), *spending.beyond(tx, settings, now).items()):
        for tenant in settings.above(settings.tenant(owner, part)):
            spent[tenant.name] = spent.get(tenant.name, 0) + amount
    for tenant in limited:
        assert tenant.allowance is not None
        used = spent.get(tenant.name, 0)
        if used + cost > round(tenant.allowance * 1_000_000):
            left = max(tenant.allowance - used / 1_000_000, 0)
            reason = f"The job may cost {cost / 1_000_000:.2f}, and of this month's allowance of {settings.called(tenant.name, organisation)} ({tenant.allowance:g}) {left:.2f} are left."
            return Answer(False, reason)
    return Answer(True, "the allowance covers it")
