"""Property: a fork equals a direct execution, and exactly what was not recorded before its point is executed."""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import kaigents_nb as kg

pytestmark = pytest.mark.usefixtures("replayed")
_numbers = itertools.count()

# An agent made up by chance is a tree, which one agent plays. Each node has an id, and what comes in goes through it.


@kg.step
async def one(ledger, node, x):
    return await executed(ledger, "one", node, x)


@kg.step
async def other(ledger, node, x):
    return await executed(ledger, "other", node, x)


@kg.step(retry=kg.Retry(max_attempts=1))
async def refuse(ledger, node, x):
    await executed(ledger, "refuse", node, x)
    raise ValueError(node)


async def executed(ledger, name, node, x):
    await asyncio.sleep(0.01 * (zlib.crc32(f"{node} {x}".encode()) % 4))
    with open(ledger, "a") as file:
        file.write(f"{name} {node} {x}\n")
    return zlib.crc32(f"{name} {node} {x}".encode())


async def play(ledger, tree, x):
    kind, node, *rest = tree
    if kind == "one":
        return await one(ledger, node, x)
    if kind == "other":
        return await other(ledger, node, x)
    if kind == "refuse":
        try:
            return await refuse(ledger, node, x)
        except ValueError as error:
            return x + error.args[0]
    if kind == "given":
        return rest[0]
    if kind == "agent":
        return await played(ledger, rest[0], x)
    if kind == "sleep":
        await (kg.sleep(0.01) if node % 2 else asyncio.sleep(0.01))
        return x
    if kind == "in time":
        return await asyncio.wait_for(play(ledger, rest[0], x), 60)
    if kind == "too late":
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            return await one(ledger, node, x)
    if kind == "sequence":
        for part in rest[0]:
            x = await play(ledger, part, x)
        return x
    return sum(await fan_out(ledger, kind, node, rest[0], x)) % 2**32


async def fan_out(ledger, kind, node, parts, x):
    if kind == "gather":
        return await asyncio.gather(*(play(ledger, part, x) for part in parts))
    if kind == "tasks":
        tasks = [asyncio.create_task(play(ledger, part, x)) for part in parts]
        return [await task for task in reversed(tasks)]
    if kind == "group":
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(play(ledger, part, x)) for part in parts]
        return [task.result() for task in tasks]
    results = []
    for part in asyncio.as_completed([play(ledger, part, x) for part in parts]):
        result = await part
        if kind == "race":  # the next call is made for whichever came first
            result = zlib.crc32(f"{result} {await one(ledger, f'after {node}', result)}".encode())
        results.append(result)
    return results


@kg.agent
async def played(ledger, tree, x):
    return await play(ledger, tree, x)


def trees(kinds):
    """Return trees with branches of several calls, before and after which there are others."""
    ids = st.just(0)
    leaves = st.one_of(
        st.tuples(st.sampled_from(["one", "one", "refuse", "sleep", "too late"]), ids),
        st.tuples(st.just("agent"), ids, st.tuples(st.just("gather"), ids, st.just([("one", 0), ("one", 0)]))),
    )
    parts = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.sampled_from(["sequence", *kinds]), ids, st.lists(inner, min_size=2, max_size=3)),
            st.tuples(st.just("in time"), ids, inner),
        ),
        max_leaves=4,
    )
    branch = parts.map(lambda part: ("sequence", 0, [("one", 0), part, ("one", 0)]))
    fan_outs = st.tuples(st.sampled_from(kinds), ids, st.lists(branch, min_size=2, max_size=4))
    return fan_outs.map(lambda fan: numbered(("sequence", 0, [("one", 0), fan, ("one", 0), ("one", 0)])))


def numbered(tree, numbers=None):
    """Give each node an id of its own."""
    numbers = numbers or itertools.count(1)
    kind, _, *rest = tree
    node = next(numbers)
    if kind == "agent" or kind == "in time":
        return [kind, node, numbered(rest[0], numbers)]
    return [kind, node, *([[numbered(part, numbers) for part in rest[0]]] if rest else [])]


def replaced(tree, node, put):
    """Return the tree with another node in the place of one."""
    kind, number, *rest = tree
    if number == node:
        return put
    if kind in ("agent", "in time"):
        return [kind, number, replaced(rest[0], node, put)]
    return [kind, number, *([[replaced(part, node, put) for part in rest[0]]] if rest else [])]


def lines(ledger):
    return Counter(ledger.read_text().splitlines()) if ledger.exists() else Counter()


def executed_by(run):
    """Return what stands in the ledger for each call of a run, by its number."""
    found = {}
    for step in run.steps(full=True).itertuples():
        if step.child_run:
            found[str(step.call)] = sum(executed_by(kg.run(step.child_run)).values(), Counter())
        else:
            given = step.inputs
            found[str(step.call)] = Counter([f"{step.step} {given['node']} {given['x']}"])
    return found


@settings(
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
@given(data=st.data())
def test_a_fork_equals_a_direct_execution(tmp_path_factory, data):
    """With the same code, an edited output, or edited code before or after the point, whatever runs at once."""
    folder = tmp_path_factory.mktemp("fork")
    edit = data.draw(st.sampled_from(["nothing", "output", "code"]))
    races = ("race",) * (edit != "code")  # edited code races anew, and what it asks for then is chance
    tree: Any = data.draw(trees((*races, "gather", "tasks", "group", "as completed")))
    first, forked, direct = folder / "first", folder / "first", folder / "direct"
    run = played.start(str(first), tree, 1)
    result = run.result(60)
    assert result == played.dry_run(str(direct), tree, 1)
    assert lines(first) == lines(direct)

    steps = run.view().steps
    recorded = executed_by(run)
    inputs = {str(step.call): step.inputs for step in run.steps(full=True).itertuples() if not step.child_run}
    nodes = {number: given["node"] for number, given in inputs.items() if isinstance(given["node"], int)}
    names = Counter()
    keys = {}
    for step in steps:
        names[step.name] += 1
        keys[step.call] = (step.name, names[step.name])
    point = data.draw(st.sampled_from([step.call for step in reversed(steps)]))
    edited = tree
    options: dict[str, Any] = {"at": keys[point]}
    if edit == "output":
        chosen = data.draw(st.sampled_from(sorted(nodes)))
        options = {"values": {keys[chosen]: 7}}
        point = str(int(chosen) + 1)
        edited = replaced(tree, nodes[chosen], ["given", nodes[chosen], 7])
    elif edit == "code":
        in_branches = sorted(nodes, key=int)[1:-2]
        chosen = data.draw(st.sampled_from(in_branches))
        others = [["other", nodes[chosen]], ["other", -1]][: data.draw(st.integers(1, 2))]
        edited = replaced(tree, nodes[chosen], ["sequence", -2, others])
        options["args"] = [str(first), edited, 1]
    elif data.draw(st.booleans()):
        event = data.draw(st.integers(1, len(run.events())))
        options = {"at": event}
    expected_ledger = folder / "expected"
    expected = played.dry_run(str(expected_ledger), edited, 1)
    before = lines(forked)
    fork = run.fork(**options)
    assert fork.result(60) == expected
    if isinstance(options.get("at"), int):
        kept = [step.call for step in fork.view().steps if step.reused]
    else:
        kept = [number for number in recorded if int(number) < int(point)]
    known = sum((recorded[number] for number in kept), Counter())
    assert lines(forked) - before == lines(expected_ledger) - known
