"""How the public names look to a type checker. Checked by ``tests/unit/test_typing.py``, never executed.

A ``type: ignore`` stands where an error must be reported: mypy complains when it is not needed.
"""

from __future__ import annotations

import datetime as dt
import random
import uuid
from collections.abc import Callable, Iterator
from typing import Any, assert_type

import pandas as pd

import kaigents_nb as kg


# Steps keep their parameters and result.
@kg.step
def price(supplier: str, *, amount: int = 1) -> float:
    return 9.5 * amount


@kg.step(timeout="5 min", retry=kg.Retry(max_attempts=3, first_wait=dt.timedelta(seconds=2), give_up_on=(KeyError,)))
async def fetch(url: str) -> bytes:
    return url.encode()


assert_type(price.name, str)
assert price.fn is not None
assert_type(price.fn("A", amount=2), float)
price("A", amount=2)
price(3)  # type: ignore[arg-type]
price("A", 2)  # type: ignore[call-arg]
fetch()  # type: ignore[call-arg]
kg.step(timeout=[])  # type: ignore[call-overload]
kg.step("5 min")  # type: ignore[call-overload]
kg.Retry(max_attempts="3")  # type: ignore[arg-type]
kg.Retry(give_up_on=KeyError)  # type: ignore[arg-type]


# Agents too.
@kg.agent
async def sourcing(product: str, limit: int = 3) -> dict[str, float]:
    cost: float = await price("A", amount=limit)
    page: bytes = await fetch("https://example.com")
    decision = await kg.approve(f"{product}: {cost}?", details={"page": page}, options=["A", "B"])
    assert_type(decision, kg.Decision)
    assert_type(decision.approved, bool)
    assert_type(decision.choice, str)
    assert_type(decision.at, dt.datetime | None)
    assert_type(await kg.choose("Which?", ["A", "B"]), str)
    assert_type(await kg.choose("Which?", [1, 2], several=True), list[int])
    assert_type(await kg.ask("How many?", int, initial=3), int)
    await kg.sleep(days=2)
    await kg.sleep("90 s")
    assert_type(kg.now(), dt.datetime)
    assert_type(kg.random(), random.Random)
    assert_type(kg.uuid4(), uuid.UUID)
    return {product: cost}


@kg.agent  # type: ignore[arg-type]
def not_async(product: str) -> str:
    return product


of_any_parameters: kg.Agent[..., dict[str, float]] = sourcing
of_another_result: kg.Agent[..., int] = sourcing  # type: ignore[assignment]
sourcing("panel", 2)
sourcing(2)  # type: ignore[arg-type]


# Runs.
run = sourcing.start("panel", limit=2, id="mine")
assert_type(run, kg.Run)
assert_type(run.id, str)
assert_type(run.status, str)
assert_type(run.steps(), pd.DataFrame)
assert_type(run.events(), pd.DataFrame)
assert_type(run.decisions(), pd.DataFrame)
assert_type(run.trace(), pd.DataFrame)
assert_type(run.variables(), pd.DataFrame)
assert_type(run.at(step="price"), kg.Moment)
assert_type(run.approve(choice="A", comment="cheap"), kg.Decision)
assert_type(run.reject(comment="dear"), kg.Decision)
assert_type(run.answer(3, comment="counted"), kg.Decision)
assert_type(run.fork(at="price", values={"price": 3.0}, code="current", decisions="keep"), kg.Run)
assert_type(run.mend(), list[str])
result: dict[str, float] = run.result(timeout="5 min")
run.fork(code="newest")  # type: ignore[arg-type]
run.approve(choice=3)  # type: ignore[arg-type]


async def in_a_cell() -> Any:
    return await run


# Over all runs.
assert_type(kg.run("mine"), kg.Run)
with kg.cassette("calls.yaml", record=False):
    pass
assert_type(kg.runs(), pd.DataFrame)
assert_type(kg.pending(), pd.DataFrame)
assert_type(kg.decisions(), pd.DataFrame)
assert_type(kg.diff(run, kg.run("other")), pd.DataFrame)
assert_type(kg.connect("localhost:7233", namespace="n"), kg.Connection)


# In steps.
@kg.resource
def database() -> dict[str, int]:
    return {"A": 1}


assert_type(database(), dict[str, int])
assert_type(kg.idempotency_key(), str)
assert_type(kg.track(["a", "b"]), Iterator[str])
kg.progress(1, 2, "half")
kg.progress("1")  # type: ignore[arg-type]

# Errors.
try:
    run.result()
except kg.RunFailed as error:
    assert_type(error.run_id, str)
except kg.AlreadyDecided as error:
    assert_type(error.decision, dict[str, Any])

handler: Callable[[kg.KaigentsError], None] = print
