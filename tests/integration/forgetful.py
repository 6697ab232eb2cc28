"""A module beside the notebook: it travels with a run, and forgets to await."""

from __future__ import annotations

import kaigents_nb as kg


async def asks():
    return await kg.approve("Publish?")


async def decides_in_module():
    decision = asks()
    if decision:
        return "unasked"
    return None


async def forgets_in_module():
    asks()
    return "unasked"


async def asks_at_once_in_module():
    decision = kg.approve("Publish?")
    if decision:
        return "unasked"
    return None


class Desk:
    """A class of the analyst's."""

    def __init__(self):
        self.asked = []

    async def asks(self):
        return await kg.approve("Publish?")

    async def decides(self):
        decision = self.asks()
        if decision:
            return "unasked"
        return None

    async def asks_whether_there_is_one(self):
        return "unasked" if self.asks() is not None else None

    async def keeps(self):
        decision = self.asks()  # noqa: F841 - what is tested
        return "unasked"

    async def passes_on(self):
        self.asked.append(self.asks())
        return "unasked"

    async def compares(self):
        return "unasked" if self.asks() == 5 else None

    async def returns(self):
        return {"decision": self.asks()}

    async def maps(self):
        return "unasked" if all(map(type(self).asks, [self])) else None

    async def awaits(self):
        return (await self.asks()).by
