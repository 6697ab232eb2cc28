"""Steps that talk to a model over HTTP: refusals park, limits and outages are waited out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

import kaigents_nb as kg
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


class Model(BaseHTTPRequestHandler):
    """A server that speaks OpenAI's chat completions; the model's name says how it behaves."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["model"])
        times = self.asked.count(body["model"])
        if body["model"] == "missing":
            self.answer(404, {"error": {"message": "The model `missing` does not exist"}})
        elif body["model"].startswith("busy") and times < 3:
            self.answer(429, {"error": {"message": "Rate limit reached"}}, {"retry-after-ms": "150"})
        elif body["model"].startswith("down") and times < 3:
            self.answer(503, {"error": {"message": "Overloaded"}})
        else:
            message = {"role": "assistant", "content": body["messages"][-1]["content"].upper()}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self.answer(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]})

    def answer(self, status, body, headers=None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The model server's address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as model:
        thread = threading.Thread(target=model.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{model.server_port}/v1"
        model.shutdown()
        thread.join()


@kg.step(retry=kg.Retry(first_wait=0.05, max_wait=0.2))
def ask(address, model, question):
    from openai import OpenAI

    with OpenAI(base_url=address, api_key="unused", max_retries=0) as client:
        reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content


@kg.agent
async def asks(address, model, question):
    return await ask(address, model, question)


@pytest.mark.parametrize("model", ["busy", "down"])
def test_limits_and_outages_are_waited_out(address, model):
    """A rate limit and an overloaded server are retried until they answer."""
    run = asks.start(address, model, "hello")
    assert run.result(30) == "HELLO"
    assert run.steps()["attempts"].tolist() == [3]


def test_a_missing_model_parks(address):
    """A 404 is not retried: the run parks with the server's own words."""
    run = asks.start(address, "missing", "hello")
    eventually(lambda: run.status == "parked")
    [step] = run.view().steps
    assert "does not exist" in step.error
    assert step.attempt == 1
    assert Model.asked.count("missing") == 1
    run.terminate()
