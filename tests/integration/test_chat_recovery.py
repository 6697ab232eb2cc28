"""A worker that dies in a conversation: what was answered is not asked again."""

from __future__ import annotations

import pytest

import kaigents_nb as kg
from tests.support import eventually
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")

ROUNDS = 8
COUNTING = f"""
def answer(request):
    done = sum(item.get("type") == "function_call_output" for item in request.items)
    if done == {ROUNDS}:
        return {{"say": f"{{done}} rounds"}}
    return {{"call": {{"advance": {{"number": done}}}}}}
"""


@kg.step
def advance(number: int) -> str:
    return f"advanced from {number}"


@kg.agent
async def marches(model):
    reply = await kg.chat("March.", model=model, tools=[advance], approve=[advance])
    return reply.text


@kg.agent
async def asks(model):
    return (await kg.chat("Slowly.", model=model)).text


@kg.agent
async def talks(model, rounds):
    reply = await kg.chat("Begin.", model=model)
    for _ in range(rounds - 1):
        reply = await kg.chat("Go on.", after=reply)
    return len(reply.messages)


def test_killed_at_every_round(workers, fake_models):
    """A loop of eight rounds goes on in the round where it was, in another process each time: nine requests in all."""
    fake = fake_models(COUNTING)
    run = marches.start(fake.model())
    processes = [workers.start(), workers.start()]
    for number in range(ROUNDS):
        gate = run.wait_for_gate(60)
        assert gate.gate == str(number + 1)
        asked_by = run.steps()["worker"].iloc[-1]
        [process] = [process for process in processes if asked_by.startswith(f"{process.pid}@")]
        processes.remove(process)
        kill(process)
        processes.append(workers.start())  # while that one starts, the other goes on
        run.approve()
    assert run.result(60) == f"{ROUNDS} rounds"
    assert len(fake.asked) == ROUNDS + 1
    assert run.calls()["repeated"].sum() == 0


def test_killed_while_the_model_thinks(workers, fake_models):
    """That request alone is sent again, and counted as one that may have been paid twice."""
    fake = fake_models([{"times": 1, "say": "lost", "delay_s": 2}, {"say": "found"}])
    process = workers.start()
    run = asks.start(fake.model())
    eventually(lambda: fake.asked, 60)
    kill(process)
    workers.start()
    assert run.result(60) == "found"
    assert len(fake.asked) == 2
    assert run.calls()["repeated"].tolist() == [1]


def test_a_history_grows_with_what_is_said(fake_models, data_dir):
    """A hundred answers of 4 KB: each message once, in the history and in the store."""
    before = stored(data_dir)
    run = talks.start(
        fake_models("def answer(request):\n    return {'say': f'{request.number:05} ' * 680}").model(), 100
    )
    assert run.result(120) == 200
    transcript = sum(len(text) for text in run.messages()["text"])
    handle = run._connection.client.get_workflow_handle(run.id)
    size = run._connection.run(handle.describe).raw_description.workflow_execution_info.history_size_bytes
    assert transcript > 400_000
    assert size < 2_000_000
    assert stored(data_dir) - before < 3 * transcript


def stored(data_dir) -> int:
    return sum(path.stat().st_size for path in (data_dir / "blobs").rglob("*") if path.is_file())


def test_a_key_is_nowhere(fake_models, data_dir, tmp_path, capfd):
    """Neither in the database, the store, what is printed nor what an error says: also when the server repeats it."""
    canary = "sk-canary-81c6d3f2"
    (tmp_path / "key").write_text(canary)
    script = (
        "def answer(request):\n"
        f"    return {{'fault': {{'status': 401, 'message': 'Incorrect API key provided: {canary}'}}}}"
    )
    run = asks.start(fake_models(script).model(api_key=f"file:{tmp_path / 'key'}"))
    eventually(lambda: run.status == "parked", 20)
    error = run.steps()["error"][0]
    assert "[key]" in error
    assert canary not in error + repr(run) + run.code() + run.calls().to_csv() + run.messages().to_csv()
    out, err = capfd.readouterr()
    assert canary not in out + err
    found = [path for path in data_dir.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]
    assert not found
    run.terminate("looked at")
