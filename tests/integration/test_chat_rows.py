"""A model asked for each row of a table."""

from __future__ import annotations

from typing import Literal

import pandas as pd
import pytest
from pydantic import BaseModel

import kaigents_nb as kg
from tests.support import eventually
from tests.workers import kill

pytestmark = pytest.mark.usefixtures("server")


class Label(BaseModel):
    topic: Literal["space", "cars"]
    sure: float


@kg.agent
async def labels(frame, model, limit=10):
    return await kg.chat_rows(frame, "{title}: {text}", model=model, output=Label, limit=limit)


@pytest.fixture(params=["responses", "chat"])
def api(request):
    return request.param


@kg.agent
async def says(frame, model):
    return await kg.chat_rows(frame, "Echo {title}", model=model)


ROWS = pd.DataFrame(
    {"title": ["moon", "wheel", "fog", "bomb"], "text": ["a", "b", "c", "d"]}, index=["w", "x", "y", "z"]
)
LABELLING = """
def answer(request):
    if "moon" in request.last:
        return {"json": {"topic": "space", "sure": 0.9}, "usage": {"input": 10, "output": 5}}
    if "bomb" in request.last:
        return {"refuse": "No."}
    if "wheel" in request.last:
        return {"fault": {"status": 400, "message": "too long", "code": "context_length_exceeded"}}
    return {"json": {"topic": "fog", "sure": 1}}
"""


def test_a_row_for_each_row(fake_models):
    """Same index; the fields of the answer are columns; what can't be answered is a row that says why."""
    fake = fake_models(LABELLING)
    run = labels.start(ROWS, fake.model(price={"input": 1_000_000, "output": 0}))
    table = run.result(30)
    assert table.index.tolist() == ["w", "x", "y", "z"]
    assert table.columns.tolist() == ["topic", "sure", "status", "error", "tokens", "cost_usd"]
    assert table["status"].tolist() == ["done", "failed", "invalid", "refused"]
    assert table.loc["w", ["topic", "sure", "tokens", "cost_usd"]].tolist() == ["space", 0.9, 15, 10.0]
    assert "longer than this model reads" in table.loc["x", "error"]
    assert "topic" in table.loc["y", "error"]
    assert table.loc["z", "error"] == "No."
    assert sum("fog" in asked["last"] or "topic" in asked["last"] for asked in fake.asked) == 3
    assert run.steps()["step"].tolist() == ["kg.chat_rows"]


def test_text_is_one_column(fake_models):
    """And no rows are no rows."""
    fake = fake_models("def answer(request):\n    return {'say': request.last}")
    table = says.start(ROWS, fake.model()).result(30)
    assert table["answer"].tolist() == ["Echo moon", "Echo wheel", "Echo fog", "Echo bomb"]
    empty = says.start(ROWS.iloc[:0], fake.model()).result(30)
    assert empty.columns.tolist() == table.columns.tolist()
    assert empty.empty
    assert (empty.dtypes[["status", "tokens", "cost_usd"]] == table.dtypes[["status", "tokens", "cost_usd"]]).all()


def test_a_busy_server_is_waited_for(fake_models):
    """As long as it says; no row fails and none is asked twice."""
    fake = fake_models(
        "asked = []\n"
        "def answer(request):\n"
        "    asked.append(request.last)\n"
        "    if len(asked) % 3 == 0:\n"
        "        return {'fault': {'status': 429, 'headers': {'retry-after-ms': '50'}}}\n"
        "    return {'say': request.last}"
    )
    frame = pd.DataFrame({"title": [f"row {number}" for number in range(40)]})
    table = says.start(frame, fake.model()).result(30)
    assert table["status"].tolist() == ["done"] * 40
    answered = [asked["last"] for asked in fake.asked if asked["ended"] == "answered"]
    assert sorted(answered) == sorted(f"Echo row {number}" for number in range(40))


def test_killed_in_the_middle(workers, fake_models):
    """Of 500 rows none that was saved is asked for again."""
    fake = fake_models("def answer(request):\n    return {'json': {'topic': 'cars', 'sure': 1}, 'delay_s': 0.05}")
    frame = pd.DataFrame({"title": [f"row {number}" for number in range(500)], "text": "x"})
    process = workers.start()
    run = labels.start(frame, fake.model(), limit=5)
    eventually(lambda: len(fake.asked) > 200, 60)
    kill(process)
    before = len(fake.asked)
    workers.start()
    table = run.result(120)
    assert (table["status"] == "done").all()
    assert len(table) == 500
    # Those that were on their way when it died, one for each of the limit.
    assert 500 <= len(fake.asked) <= 505
    assert before < 500
    [call] = run.calls().to_dict("records")
    # Noted before it is sent: one that had not left yet may be counted, none is missing.
    assert call["requests"] == 500
    assert 500 <= len(fake.asked) <= call["requests"] + call["repeated"] <= 505


@kg.agent
async def batched(frame, model):
    return await kg.chat_rows(frame, "{title}", model=model, output=Label, when="24h")


def test_a_batch_costs_half(fake_models, api):
    """It is handed in once, waited for by a timer, and what expired goes into the next."""
    fake = fake_models(
        "seen = []\n"
        "def answer(request):\n"
        "    seen.append(request.last)\n"
        "    if request.last == 'wheel' and seen.count('wheel') == 1:\n"
        "        return {'fault': {'drop': True}}\n"
        "    if request.last == 'bomb':\n"
        "        return {'fault': {'status': 400, 'message': 'not that'}}\n"
        "    return {'json': {'topic': 'cars', 'sure': 1}, 'usage': {'input': 1, 'output': 0}}"
    )
    run = batched.start(ROWS, fake.model(api=api, price={"input": 1_000_000}))
    table = run.result(60)
    assert table["status"].tolist() == ["done", "done", "done", "failed"]
    assert table["cost_usd"].tolist()[:3] == [0.5, 0.5, 0.5]
    assert table.loc["z", "error"] == "not that"
    asked = [request["last"] for request in fake.asked]
    assert sorted(asked) == ["bomb", "fog", "moon", "wheel", "wheel"]
    assert run.steps()["step"].value_counts()["kg.batch.submit"] == 2


@pytest.mark.parametrize(("template", "said"), [("{nothing}", "The table has: title, text"), ("all", "no column")])
def test_a_template_names_columns(template, said):
    """Else it says which there are."""
    with pytest.raises(ValueError, match=said):
        kg.chat_rows(ROWS, template, model="m")
