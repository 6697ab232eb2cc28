"""Files of values get lost, and other programs write what they like: no run and no overview falls over it."""

from __future__ import annotations

import io
import sys
import uuid
from contextlib import redirect_stdout

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

import kaigents_nb as kg
from kaigents_nb import __main__ as program
from kaigents_nb.display import blocks_text
from kaigents_nb.display.run_blocks import run_blocks
from kaigents_nb.runtime import connecting
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.payloads import raw
from kaigents_nb.runtime.protocol import CODE_ENCODING
from kaigents_nb.runtime.seeds import SEEDS_ENCODING
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("replayed")

CLAIM = b'{"driverName":"%s","claimData":%s}'
REFERENCE = {"encoding": b"json/external-storage-reference"}


@kg.agent
async def asks(about):
    return bool(await kg.approve("Go?", details=about))


@kg.step
def makes(letter):
    return letter * 100_000


@kg.step
def length(text):
    return len(text)


@kg.agent
async def hands_on(letter):
    text = await makes(letter)
    await kg.approve("Go?")
    return await length(text)


def referring(payload: Payload) -> Payload:
    """A reference to a file that is not here, as the library itself makes it."""
    connection = current()

    async def encode() -> Payload:
        [encoded] = await connection.client.data_converter.encode([RawValue(payload)])
        return encoded

    encoded = connection.run(encode)
    forget(connection.data_dir, payload.data)
    return encoded


def forget(data_dir, content):
    """Lose the file of a value; returns its path."""
    [path] = [p for p in (data_dir / "blobs").rglob("*") if p.is_file() and p.read_bytes() == content]
    path.unlink()
    return path


def bring_back(path, content):
    """As private as it was."""
    path.touch(0o600)
    path.write_bytes(content)


def unreadable(kind):
    if kind == "lost file":
        return referring(raw(f"{uuid.uuid4()}" * 3_000, "value").payload)
    if kind == "lost code":
        return referring(Payload(data=uuid.uuid4().bytes * 6_000, metadata={"encoding": CODE_ENCODING.encode()}))
    return {
        "other store": Payload(data=CLAIM % (b"s3", b"{}"), metadata=REFERENCE),
        "no claim": Payload(data=CLAIM % (b"kaigents-files", b"{}"), metadata=REFERENCE),
        "no reference": Payload(data=b"garbage", metadata=REFERENCE),
        "marked": Payload(data=b"garbage", metadata={"temporal-external-storage-reference": b"true"}),
        "code": Payload(data=b"garbage", metadata={"encoding": CODE_ENCODING.encode()}),
        "seeds": Payload(data=b"garbage", metadata={"encoding": SEEDS_ENCODING.encode()}),
        "nothing": Payload(data=b"\xff"),
        "unknown": Payload(data=b"\xff", metadata={"encoding": b"\xff\xfe"}),
    }[kind]


KINDS = ["lost file", "lost code", "other store", "no claim", "no reference", "code", "seeds", "nothing", "unknown"]


def test_no_signal_and_no_update_stops_a_run():
    """Whatever a client sends in whichever place, the run waits on and takes the decision that comes then."""
    run = asks.start("x")
    run.wait_for_gate(20)
    handle = run._connection.client.get_workflow_handle(run.id)

    async def send(payload: Payload) -> None:
        value = RawValue(payload)
        for args in ([value], [["asks"], ["1"], value], [value, value, value]):
            for signal in ("decide_later", "mend", "retry_now", "unheard of"):
                await handle.signal(signal, args=args)
        for update in ("decide", "unheard of"):
            with pytest.raises(Exception, match=r"."):
                await handle.execute_update(update, value)

    for kind in KINDS:
        payload = unreadable(kind)
        run._connection.run(lambda payload=payload: send(payload))
    assert run.status == "waiting"
    assert any("can't be read here" in notice for notice in run.view().notices)
    run.approve()
    assert run.result(30)
    assert run.decisions()["counted"].tolist() == [True]


def test_a_lost_result_stops_the_run_where_it_is_until_it_is_back(data_dir, failed_tasks_soon_again):
    """The card says which file is missing; the agent is not told, and goes on with it."""
    letter = uuid.uuid4().hex
    run = hands_on.start(letter)
    run.wait_for_gate(20)
    content = raw(letter * 100_000, "value").payload.data
    path = forget(data_dir, content)
    run.approve()
    view = eventually(lambda: (v := run.view()).status == "stuck" and v, message="the card says so")
    assert f"A saved value is missing: {path}" in view.problem
    bring_back(path, content)
    assert run.result(60) == 3_200_000


def test_lost_arguments_and_details_take_nothing_down(data_dir, monkeypatch):
    """The run is listed, shown and can be decided; the details say which file is missing."""
    letters = uuid.uuid4().hex
    about = letters * 5_000
    run = asks.start(about)
    run.wait_for_gate(20)
    kg.disconnect()  # with what it remembers of the run
    monkeypatch.setenv("KAIGENTS_WORKER", "off")
    content = raw(about, "value").payload.data
    path = forget(data_dir, content)
    run = kg.run(run.id)
    eventually(lambda: run.id in kg.pending()["run_id"].tolist())
    assert run.id in kg.runs()["run_id"].tolist()
    card = blocks_text.text(run_blocks(run.view()))
    assert "The details can't be shown here: A saved value is missing" in card
    assert len(run.pending()) == 1
    assert list(run.steps(full=True).columns)
    kg.inbox().close()
    monkeypatch.setattr(connecting, "disconnect", lambda: None)  # this process goes on, with its connection
    for command in ("runs", "show", "inbox", "history"):
        arguments = [command] if command in ("runs", "inbox") else [command, run.id]
        monkeypatch.setattr(sys, "argv", ["kaigents-nb", *arguments])
        with redirect_stdout(io.StringIO()) as said:
            assert program._run() == 0
        assert run.id in said.getvalue() or command == "history"
    monkeypatch.undo()
    kg.disconnect()
    run = kg.run(run.id)
    bring_back(path, content)
    run.approve()
    assert run.result(60)


def test_foreign_workflows_are_named_and_the_rest_is_listed():
    """A run of another program that looks like ours gets a row that says so; ours are listed, gates and all."""
    connection = current()
    name = f"foreign-{uuid.uuid4().hex[:8]}"
    headers = [
        {"agent": "x", "code": "y", "seeded": True},
        {"agent": "x", "code": "y", "positional": 2},
        [1],
        "text",
        5,
        {"agent": 5, "decisions": 7, "mended": 3, "keywords": 9},
        {"decisions": {"1": 5}},
    ]

    async def start(number: int, args: list[object], memo: dict[str, object]) -> None:
        await connection.client.start_workflow(
            "foreign", args=args, id=f"{name}-{number}", task_queue="nobody", memo=memo
        )

    garbage = [unreadable(kind) for kind in KINDS]
    starts = [
        ([header, RawValue(one)], {"kaigents": RawValue(one), "kaigents_origin": RawValue(one)})
        for header in headers
        for one in garbage[:1]
    ]
    starts += [([RawValue(one), RawValue(one), RawValue(one)], {"kaigents": RawValue(one)}) for one in garbage]
    mine = asks.start("x")
    try:
        for number, (args, memo) in enumerate(starts):
            connection.run(lambda number=number, args=args, memo=memo: start(number, args, memo))
        mine.wait_for_gate(20)

        def listed():
            table = kg.runs()
            return table[table["run_id"].str.startswith(name)]

        eventually(lambda: len(listed()) == len(starts))
        assert listed()["waits_for"].str.contains("can't be read").sum() >= len(headers)
        eventually(lambda: mine.id in kg.pending()["run_id"].tolist())
        with pytest.warns(UserWarning, match="is not shown whole"):
            kg.decisions()
        kg.inbox().close()
        for number in range(len(starts)):
            foreign = kg.Run(connection, f"{name}-{number}")
            assert blocks_text.text(run_blocks(foreign.view()))
    finally:
        for number in range(len(starts)):
            kg.Run(connection, f"{name}-{number}").terminate()
        mine.terminate()
