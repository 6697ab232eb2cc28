"""What a model's server answered, recorded in a file and given again: without server, network or key."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import kaigents_nb as kg
from tests.fake_model import served
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")

CANARY = 'sk-canary/"7d41'
SCRIPT = f"""
CANARY = {CANARY!r}
asked = []
def answer(request):
    asked.append(request.last)
    if asked == ["Price of a panel?"]:
        return {{"fault": {{"status": 429, "headers": {{"retry-after-ms": "10"}}, "message": CANARY}}}}
    if request.after == "price_of":
        return {{"say": f"A panel costs {{request.last}} USD, says {{CANARY}}"}}
    if request.tools:
        return {{"call": {{"price_of": {{"product": "panel"}}}}}}
    return {{"say": f"{{request.last}} {{asked.count(request.last)}}"}}
"""
ROWS = pd.DataFrame({"title": ["moon", "wheel", "fog"]})


@kg.step
def price_of(product: str) -> float:
    return 61.5


@kg.step
async def in_a_step(model):
    return (await kg.chat("In a step", model=model)).text


@kg.agent
async def uses_all(model):
    reply = await kg.chat("Price of a panel?", model=model, tools=[price_of])
    twice = [(await kg.chat("again", model=model)).text for _ in range(2)]
    table = await kg.chat_rows(ROWS, "Echo {title}", model=model)
    later = await kg.chat_rows(ROWS, "Later {title}", model=model, when="24h")
    made = await kg.openai_client(model).chat.completions.create(
        model=model.name, messages=[{"role": "user", "content": "plain"}]
    )
    return (
        reply.text, twice, table["answer"].tolist(), later["answer"].tolist(), made.choices[0].message.content,
        await in_a_step(model), await asks("of a called agent", model),
    )  # fmt: skip


@kg.agent
async def asks(prompt, model):
    return (await kg.chat(prompt, model=model)).text


@pytest.fixture(scope="module")
def recorded(server, tmp_path_factory) -> tuple[Path, kg.Model, object]:
    """A cassette, the model whose server is gone by now, and what the run returned."""
    folder = tmp_path_factory.mktemp("recording")
    path = folder / "calls.yaml"
    with pytest.MonkeyPatch.context() as patch, served(folder) as models:
        patch.setenv("CANARY", CANARY)
        fake = models(SCRIPT)
        model = fake.model(api_key="env:CANARY", price={"input": 1, "output": 1})
        with kg.cassette(path):
            run = uses_all.start(model)
        result = run.result(60)
        assert not run.calls()["model"].str.startswith("recorded/").any()
        assert any(f"recorded in {path}" in notice for notice in run.view().notices)
        assert CANARY in result[0]
        with kg.cassette(path, record=False), pytest.raises(Exception, match="no answer to this request"):
            asks.dry_run("Of something else", model)
    return path, model, result


def test_it_plays_without_server_and_key(recorded):
    """The same run, in the worker of this process: in the same order, and labelled."""
    path, model, result = recorded
    with kg.cassette(path):
        run = uses_all.start(model)
    assert run.result(60) == (result[0].replace(CANARY, "[key]"), *result[1:])
    calls = run.calls()
    assert calls["model"].str.startswith("recorded/scripted/").all()
    assert calls["price_basis"].str.endswith(", recorded").all()
    assert (calls["cost_usd"] > 0).all()
    assert any(f"played back from {path}" in notice for notice in run.view().notices)
    with kg.cassette(path):
        assert asks.dry_run("again", model) == "again 1"


def test_it_plays_in_a_worker_of_its_own(workers, recorded):
    """That is a fresh process; a fork plays on."""
    path, model, result = recorded
    with kg.cassette(path):
        run = uses_all.start(model)
    workers.start()
    assert run.result(60)[1:] == result[1:]
    assert run.fork(at="in_a_step").result(60)[1:] == result[1:]


def test_no_key_is_on_it(recorded):
    """In no header, no body and no error text; nor who was asked for what, such as cookies and accounts."""
    path, _, _ = recorded
    text = path.read_text()
    assert CANARY not in text
    assert "canary" not in text
    assert "[key]" in text
    assert "uthorization" not in text
    import yaml

    interactions = yaml.safe_load(text)["interactions"]
    assert [one["response"]["status"]["code"] for one in interactions].count(429) == 1


def test_what_is_not_on_it_is_said(recorded):
    """The run parks: with the request, what there is, and what to do."""
    path, model, _ = recorded
    with kg.cassette(path):
        run = asks.start("Price of a wheel?", model)
    eventually(lambda: run.status == "parked", 20)
    error = run.steps()["error"][0]
    for said in (str(path), "POST /v1/chat/completions", "Price of a wheel?", "Price of a panel?", "record=True"):
        assert said in error
    run.terminate("looked at")


def test_a_worker_records(workers, fake_models, tmp_path):
    """Several rows at the same time, in a process of its own; here they are played back."""
    path = tmp_path / "calls.yaml"
    fake = fake_models("def answer(request):\n    return {'say': f'{request.last} {request.number}'}")
    frame = pd.DataFrame({"title": [f"row {number}" for number in range(60)]})
    with kg.cassette(path):
        run = labels.start(frame, fake.model())
    workers.start()
    table = run.result(60)
    assert len(fake.asked) == 60
    with kg.cassette(path):
        again = labels.start(frame, fake.model())
    assert again.result(60).equals(table)
    assert len(fake.asked) == 60


@kg.agent
async def labels(frame, model):
    return await kg.chat_rows(frame, "Echo {title}", model=model, limit=4)


def test_a_file_is_recorded_anew(fake_models, tmp_path):
    """If it is said so; and one on which nothing was recorded counts as none."""
    path = tmp_path / "calls.yaml"
    with pytest.raises(FileNotFoundError, match="no cassette"):
        kg.cassette(path, record=False)
    model = fake_models("def answer(request):\n    return {'say': str(request.number)}").model()
    with kg.cassette(path):
        pass
    with kg.cassette(path):
        first = asks.dry_run("one", model)
    with kg.cassette(path):
        assert asks.dry_run("one", model) == first
    with kg.cassette(path, record=True):
        second = asks.dry_run("one", model)
    assert first != second
    with kg.cassette(path):
        assert asks.dry_run("one", model) == second
    assert asks.dry_run("one", model) not in (first, second)
    path.write_text("- no cassette")
    with pytest.raises(ValueError, match="is no cassette"):
        kg.cassette(path)


def test_without_its_package_it_says_which():
    """By the name of the extra."""
    code = "import sys; sys.modules['vcr'] = None\nimport kaigents_nb as kg\nkg.cassette('calls.yaml')"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60)
    assert "pip install 'kaigents-nb[cassette]'" in done.stderr


def test_it_stands_round_start():
    """Not in the agent, which is executed again and again."""
    with pytest.raises(RuntimeError, match="round its start"):
        opens.dry_run()


@kg.agent
async def opens():
    with kg.cassette("calls.yaml"):
        pass
