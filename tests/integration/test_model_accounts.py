"""What models were paid for: each request is counted once, and what may have been paid without a record is said."""

from __future__ import annotations

import socket

import pandas as pd
import pytest

import kaigents_nb as kg
from tests.support import eventually
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")

PRICE = {"input": 1_000_000, "output": 0}
USAGE = {"usage": {"input": 10, "output": 5, "cached": 4, "reasoning": 3}}
LAST, FOUND = {"say": "whole"}, {"times": 1, "say": "found"}
TITLES = pd.DataFrame({"title": ["moon", "wheel", "fog"]})


@kg.agent
async def spends(frame, priced, other):
    """Asks in every way."""
    await kg.chat("one", model=priced)
    rows = await kg.chat_rows(frame, "now {title}", model=priced, output=int, limit=2)
    later = await kg.chat_rows(frame, "later {title}", model=priced, when="24h")
    await kg.chat("two", model=other)
    await kg.approve("Go on?")
    return rows, later


@kg.agent
async def asks(model, options):
    return (await kg.chat("Slowly.", model=model, **options)).text


@kg.agent
async def says(frame, model):
    return await kg.chat_rows(frame, "Echo {title}", model=model, limit=5)


@kg.agent
async def clients(model):
    client = kg.openai_client(model)
    said = [{"role": "user", "content": "first"}]
    for _ in range(2):
        got = await client.chat.completions.create(model=model.name, messages=said)
        said += [
            {"role": "assistant", "content": got.choices[0].message.content},
            {"role": "user", "content": "go on"},
        ]
    return len(said)


def answered(fake) -> int:
    return sum(asked["ended"] == "answered" for asked in fake.asked)


def test_what_was_paid_adds_up(fake_models):
    """On the card, in kg.runs() and in run.calls() are the requests of the server and the USD of the tables."""
    script = (
        "seen = []\n"
        "def answer(request):\n"
        "    seen.append(request.last)\n"
        f"    more = {USAGE}\n"
        "    if request.last == 'now wheel':\n"
        "        return {'say': 'no number', **more}\n"
        "    if request.last == 'now fog':\n"
        "        return {'fault': {'status': 400, 'message': 'not that'}}\n"
        "    return {'say': '{\"value\": 1}', **more}"
    )
    fake = fake_models(script)
    run = spends.start(TITLES, fake.model(price=PRICE), fake.model())
    run.wait_for_gate(40)
    calls = run.calls()
    assert calls["requests"].tolist() == [1, 3, 3, 1]
    assert calls["requests"].sum() == answered(fake) == 8
    assert calls["tokens_in"].tolist() == [10, 30, 30, 10]
    assert calls["tokens_cached"].sum() == 32
    assert calls["tokens_reasoning"].sum() == 24
    assert calls["price_basis"].tolist()[1:3] == ["given", "given, half in a batch"]
    assert calls["price_basis"][3].startswith("unknown: no published price")
    assert calls["cost_usd"].isna().tolist() == [False, False, False, True]
    assert calls["repeated"].sum() == 0
    [row] = eventually(lambda: [row for row in kg.runs().to_dict("records") if row["run_id"] == run.id])
    row = eventually(lambda: next(r for r in kg.runs().to_dict("records") if r["run_id"] == run.id and r["requests"]))
    assert (row["requests"], row["tokens"]) == (8, 8 * 15)
    assert pd.isna(row["cost_usd"])
    spent = run.view().spent
    assert (spent.requests, spent.tokens, spent.usd, spent.unpriced) == (8, 8 * 15, 55.0, 1)
    run.approve()
    rows, later = run.result(20)
    assert rows["cost_usd"].tolist() == [10.0, 20.0, 0.0]
    assert calls["cost_usd"].tolist()[1:3] == [rows["cost_usd"].sum(), later["cost_usd"].sum()]
    said = run.messages()
    assert said[said["row"] == 1]["text"].tolist() == [*WRONG, '{"value": 1}', "later wheel", '{"value": 1}']
    seen = run.messages(call=calls["call"][1])
    assert seen[seen["row"] == 1]["text"].tolist() == WRONG
    assert said[said["row"].isna()]["text"].tolist() == ["one", '{"value": 1}', "two", '{"value": 1}']
    fork = run.fork(at="kg.batch.submit")
    fork.wait_for_gate(40)
    assert fork.calls()["requests"].tolist() == [3, 1]
    assert fork.view().spent.requests == 4
    fork.terminate()


WRONG = [
    "now wheel",
    "no number",
    "The answer is not the JSON that was asked for: the value: Invalid JSON: expected ident at line 1 column 2, "
    "not 'no number'. Answer again.",
]


def test_another_client_is_in_the_accounts(fake_models):
    """Its requests are rows, and what it repeats in each is one message."""
    fake = fake_models([{"say": "hello", **USAGE}])
    run = clients.start(fake.model(price=PRICE))
    assert run.result(30) == 5
    calls = run.calls()
    assert calls["requests"].sum() == answered(fake) == 2
    assert run.view().spent.usd == calls["cost_usd"].sum() == 20.0
    assert run.messages()["text"].tolist() == ["first", "hello", "go on", "hello"]
    assert run.messages(call=calls["call"][1])["text"].tolist() == ["first", "hello", "go on"]


@pytest.mark.parametrize(
    ("rule", "options"),
    [({"fault": {"drop": True}}, {}), ({"say": "It breaks off", "breaks_after": 2}, {"stream": True})],
)
def test_a_lost_answer_may_have_been_paid(fake_models, rule, options):
    """A connection that was lost after sending, a stream that broke off."""
    fake = fake_models([{"times": 2, **rule}, {"say": "whole"}])
    run = asks.start(fake.model(), options)
    eventually(lambda: run.status == "retrying")
    assert run.calls()["repeated"].tolist() == [1]
    run.retry_now()
    assert run.result(30) == "whole"
    [call] = run.calls().to_dict("records")
    assert (call["requests"], call["repeated"]) == (1, 2)
    assert call["requests"] + call["repeated"] == len(fake.asked)
    assert run.view().spent.repeated == 2


def test_what_was_refused_was_not_paid(fake_models):
    """Nor what never got there."""
    fake = fake_models([{"times": 2, "fault": {"status": 503, "headers": {"retry-after-ms": "50"}}}, {"say": "whole"}])
    run = asks.start(fake.model(), {})
    assert run.result(30) == "whole"
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        run_away = asks.start(kg.model("m", base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"), {})
        eventually(lambda: run_away.status == "retrying")
        run_away.terminate()
    assert run.calls()["repeated"].tolist() == run_away.calls()["repeated"].tolist() == [0]


def test_killed_in_mid_stream(workers, fake_models):
    """That request alone is sent again, and counted."""
    fake = fake_models(
        [{"times": 1, "say": "first"}, {"times": 1, "say": "x" * 4_000, "pace_s": 0.2}, {"say": "whole"}]
    )
    process = workers.start()
    run = streams.start(fake.model())
    eventually(lambda: [step for step in run.view().steps if step.progress and step.progress.text], 60)
    kill(process)
    workers.start()
    assert run.result(60) == ["first", "whole", "whole"]
    assert len(fake.asked) == 4
    assert run.calls()["repeated"].tolist() == [0, 1, 0]
    assert run.calls()["requests"].tolist() == [1, 1, 1]


@kg.agent
async def streams(model):
    return [(await kg.chat(str(number), model=model, stream=True)).text for number in range(3)]


def test_too_late_and_ended(fake_models, monkeypatch):
    """An answer that came after the client's time-out, and one that a run which was ended did not wait for."""
    monkeypatch.setattr("openai._base_client.DEFAULT_TIMEOUT", 0.5)  # ten minutes
    fake = fake_models([{"times": 1, "say": "late", "delay_s": 1}, FOUND, {"delay_s": 9, "say": ""}])
    impatient = kg.model(fake.name, base_url=f"{fake.url}/")  # a client of its own
    run = asks.start(impatient, {})
    assert run.result(30) == "found"
    assert run.calls()["repeated"].tolist() == [1]
    ended = asks.start(fake.model(), {})
    eventually(lambda: len(fake.asked) == 3)
    ended.terminate()
    assert ended.calls()["repeated"].tolist() == [1]
    assert ended.calls()["status"].tolist() == ended.steps()["status"].tolist() == ["cancelled"]


def test_rows_of_a_run_that_was_ended(fake_models):
    """Those that are saved were paid once, and are in the accounts though the history has no result."""
    fake = fake_models(f"def answer(request):\n    return {{'say': request.last, 'delay_s': 0.1, **{USAGE}}}")
    frame = pd.DataFrame({"title": [f"row {number}" for number in range(100)]})
    run = says.start(frame, fake.model(price=PRICE))
    eventually(lambda: len(fake.asked) > 20)
    run.terminate()
    [call] = run.calls().to_dict("records")
    assert call["requests"] >= 15
    assert call["cost_usd"] == 10 * call["requests"]
    assert call["requests"] + call["repeated"] <= len(fake.asked) + 5
