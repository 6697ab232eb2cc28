"""One long call that the provider works on by itself: ``kg.chat(…, when="background")``, also with the laptop shut."""

from __future__ import annotations

from typing import Any

from kaigents_nb.authoring.clock import sleep
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.models import client, responses
from kaigents_nb.models.call import Asked, Request, completed, maybe, prepared
from kaigents_nb.models.items import Item
from kaigents_nb.models.ledger import Ledger

_WORKING = ("queued", "in_progress")
_FIRST_LOOK_S, _LONGEST_LOOK_S = 2.0, 60.0


async def ask_in_background(request: Request, before: str, items: list[Item]) -> Asked:
    """Hand the request in, wait with nothing running, and return what came of it."""
    number = await maybe(submit(request, before, items))
    wait_s = _FIRST_LOOK_S
    while True:
        asked: Asked | None = await maybe(collect(request, before, items, number))
        if asked is not None:
            return asked
        await sleep(wait_s)
        wait_s = min(2 * wait_s, _LONGEST_LOOK_S)


@library_step("kg.background.submit")
async def submit(request: Request, before: str, items: list[Item]) -> str:
    """Hand in a request and return its id."""
    if request.model.speaks != "responses":
        raise TypeError(
            f"{request.model.name!r} is asked with Chat Completions, which has no background mode. Say "
            "kg.model(…, api='responses') if its server has that, or leave when= out."
        )
    body, _ = prepared(request, before, items)
    with Ledger() as ledger:
        async with ledger.request():
            made: Any = await client.post(request.model, responses.PATH, {**body, "background": True, "store": True})
        await ledger.recorded(1)
    return str(made["id"])


@library_step("kg.chat.background")
async def collect(request: Request, before: str, items: list[Item], number: str) -> Asked | None:
    """Return the answer, or None while it is worked on."""
    data: Any = await client.get(request.model, f"{responses.PATH}/{number}")
    if data.get("status") in _WORKING:
        return None
    return completed(request, before, items, data)
