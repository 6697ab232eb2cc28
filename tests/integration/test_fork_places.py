"""A fork equals a direct execution: a call is known by its place, and what was recorded comes as it came."""

from __future__ import annotations

import asyncio

import pytest

import kaigents_nb as kg
from kaigents_nb.runtime import protocol
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")


@kg.step
def noted(ledger, name, x=0):
    with open(ledger, "a") as file:
        file.write(f"{name}\n")
    return f"{name}({x})"


@kg.step
async def noted_after(ledger, name, delay_s):
    await asyncio.sleep(delay_s)
    return noted(ledger, name, delay_s)


@kg.step
def never(ledger):
    raise ConnectionError("not yet")


@kg.agent
async def fan_out(ledger):
    async def branch(n):
        first = await noted_after(ledger, f"{n}a", 0.02 * ((7 * n) % 5))
        second = await noted(ledger, f"{n}b", first)
        return await noted(ledger, f"{n}c", second)

    results = await asyncio.gather(*(branch(n) for n in range(24)))
    return await noted(ledger, "sum", results)


@kg.agent
async def first_wins(ledger):
    slow = asyncio.create_task(noted_after(ledger, "slow", 0.3))
    fast = asyncio.create_task(noted_after(ledger, "fast", 0))
    seen = []
    waiting = {slow, fast}
    while waiting:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        seen += [await noted(ledger, "saw", task.result()) for task in done]
    try:
        await asyncio.wait_for(never(ledger), 0.2)
    except TimeoutError:
        seen.append(await noted(ledger, "too late"))
    return await noted(ledger, "end", seen)


@kg.agent
async def gates_at_once(ledger):
    async def branch(name):
        await noted(ledger, f"{name}1")
        decision = await kg.approve(name)
        return await noted(ledger, f"{name}2", decision.by)

    both = await asyncio.gather(branch("a"), branch("b"))
    return await noted(ledger, "end", both)


def lines(path):
    return path.read_text().split("\n")[:-1] if path.exists() else []


def test_a_fork_after_a_fan_out_gives_each_branch_its_own(tmp_path):
    """However the calls of 24 branches interleaved, the fork has each branch's results; no recorded step runs again."""
    ledger = tmp_path / "ledger"
    run = fan_out.start(str(ledger))
    result = run.result(60)
    fork = run.fork(at=("noted", 49))
    assert fork.result(60) == result
    assert lines(ledger)[73:] == ["sum"]
    again = fork.fork(at=("noted", 30))
    assert again.result(60) == result
    made_again = lines(ledger)[74:]
    assert len(made_again) == len(set(made_again)) < 30


def test_a_fork_goes_the_way_of_races(tmp_path):
    """Who came first, what timed out: recorded, not raced again; what the run gave up is not made again."""
    ledger = tmp_path / "ledger"
    run = first_wins.start(str(ledger))
    result = run.result(30)
    assert 0 < result.index("saw(fast") < result.index("saw(slow") < result.index("too late")
    fork = run.fork(at=("noted", 4))
    assert fork.result(30) == result
    assert lines(ledger)[6:] == ["end"]
    assert run.fork(at=("noted", 3)).result(30) == result


def test_gates_asked_again_come_in_the_recorded_order_or_as_they_are_decided(tmp_path):
    """A fork that asks again waits for nobody who was not waited for."""
    ledger = tmp_path / "ledger"
    run = gates_at_once.start(str(ledger))
    eventually(lambda: len(run.pending()) == 2)
    gates = run.pending().set_index("question")["gate"]
    run.approve(gates["b"], by="bea")
    eventually(lambda: "b2" in lines(ledger))
    run.approve(gates["a"], by="al")
    result = run.result(20)
    by = {gates["a"]: "al", gates["b"]: "bea"}
    for first, then in ((gates["b"], gates["a"]), (gates["a"], gates["b"])):
        before = len(lines(ledger))
        fork = run.fork(at=("noted", 5))
        eventually(lambda fork=fork: len(fork.pending()) == 2)
        fork.approve(first, by=by[first])
        eventually(lambda fork=fork, first=first: first not in fork.pending()["gate"].tolist())
        fork.approve(then, by=by[then])
        assert fork.result(20) == result
        assert lines(ledger)[before:] == ["end"]
    assert run.fork(at=("noted", 5), decisions="keep").result(20) == result


def test_a_run_of_an_older_version_is_forked_by_place_too(tmp_path, monkeypatch):
    """Its history says nothing of places; the recorded code does, and a fork of that fork as well."""
    ledger = tmp_path / "ledger"
    with monkeypatch.context() as older:
        older.setattr(protocol, "INTERPRETER_VERSION", 1)
        run = fan_out.start(str(ledger))
    result = run.result(60)
    fork = run.fork(at=("noted", 40))
    assert fork.result(60) == result
    made_again = lines(ledger)[73:]
    assert len(made_again) == len(set(made_again)) < 40
    assert fork.fork(at=("noted", 49)).result(60) == result
    assert lines(ledger)[-1] == "sum"
    assert len(lines(ledger)) == 73 + len(made_again) + 1


@kg.agent
async def three_branches(ledger, changed):
    async def branch(n):
        name = "other" if n == changed else f"{n}a"
        first = await noted_after(ledger, f"{n}", 0.01) if n != changed else await noted(ledger, "new")
        return await noted(ledger, name, first)

    results = await asyncio.gather(*(branch(n) for n in range(3)))
    return await noted(ledger, "sum", results), await noted(ledger, "done")


def test_an_edit_in_one_branch_leaves_the_others_alone(tmp_path):
    """That branch goes its own way, and what was computed from it; the card says where, and nothing else runs again."""
    ledger = tmp_path / "ledger"
    run = three_branches.start(str(ledger), None)
    run.result(30)
    assert len(lines(ledger)) == 8
    fork = run.fork(at=("noted", 5), args=[str(ledger), 1])
    assert fork.result(30) == three_branches.dry_run(str(tmp_path / "direct"), 1)
    assert lines(ledger)[8:] == ["new", "other", "sum", "done"]
    [notice] = fork.view().notices
    assert "From call 2 on" in notice
    assert "'noted_after'" in notice


def test_a_result_of_other_arguments_is_taken_over_knowingly(tmp_path):
    """The same call before the point, with other arguments: it is not made again, and the card says so."""
    ledger = tmp_path / "ledger"
    run = gates_at_once.start(str(ledger))
    for gate in ("1", "2"):
        eventually(lambda gate=gate: gate in run.pending()["gate"].tolist())
        run.approve(gate)
    result = run.result(20)
    other = tmp_path / "other"
    fork = run.fork(at=("noted", 5), args=[str(other)], decisions="keep")
    assert fork.result(20) == result
    assert lines(other) == ["end"]
    [notice] = fork.view().notices
    assert notice.startswith(
        "Taken over from the first run although this one calls with other arguments: noted (call 1)"
    )
    same = run.fork(at=("noted", 5), decisions="keep")
    assert same.result(20) == result
    assert same.view().notices == ()


@kg.step
def needs_a_key(ledger, name, x):
    if name == "1b":
        return x.nope
    return noted(ledger, name, x)


@kg.agent
async def fails_in_one_branch(ledger):
    async def branch(n):
        first = await noted_after(ledger, f"{n}a", 0.01 * n)
        return await noted(ledger, f"{n}c", await needs_a_key(ledger, f"{n}b", first))

    return await asyncio.gather(*(branch(n) for n in range(4)))


def test_a_run_is_forked_while_a_branch_is_parked(tmp_path):
    """What the other branches have done is theirs; only the failing call is made again, or its output given."""
    ledger = tmp_path / "ledger"
    run = fails_in_one_branch.start(str(ledger))
    eventually(lambda: sorted(run.steps()["status"]) == ["completed"] * 10 + ["parked"])
    fork = run.fork(at="failed")
    eventually(lambda: fork.status == "parked")
    names = run.steps().set_index("call")["step"].to_dict()
    assert fork.steps().set_index("call")["step"].to_dict() == names
    [parked] = [step for step in fork.view().steps if not step.reused]
    occurrence = [names[n] for n in sorted(names) if n <= int(parked.call)].count("needs_a_key")
    given = fork.fork(values={("needs_a_key", occurrence): "given"}, at="failed")
    assert given.result(20)[1] == "1c(given)"
    assert lines(ledger)[10:] == ["1c"]
    run.terminate()
    fork.terminate()


def test_a_run_that_no_worker_has_begun_is_forked(tmp_path, monkeypatch):
    """Nothing is recorded yet: the fork begins at the start."""
    kg.disconnect()
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    run = three_branches.start(str(tmp_path / "ledger"), None)
    fork = run.fork(at=1)
    kg.disconnect()
    monkeypatch.delenv("KAIGENTS_WORKER")
    assert kg.run(fork.id).result(30) == kg.run(run.id).result(30)
