"""Connecting: the embedded server by itself, others by address, and what goes wrong."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

import kaigents_nb as kg
from kaigents_nb.errors import ServerError, ServerNotReady
from kaigents_nb.server import embedded
from kaigents_nb.server.embedded import ServerInfo
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def double(x):
    return 2 * x


@kg.agent
async def doubled(x):
    return await double(x)


@kg.agent
async def asks():
    return (await kg.approve("Go on?")).by


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> Iterator[ServerInfo]:
    """Another server, reached by its address only."""
    folder = tmp_path_factory.mktemp("other")
    yield embedded.ensure(folder)
    embedded.stop(folder)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Each test connects by itself."""
    kg.disconnect()
    yield
    kg.disconnect()


def test_the_embedded_server_is_the_default(server, data_dir):
    """connect() without arguments is the embedded server of the data directory, and the same connection again."""
    connection = kg.connect()
    assert connection.address == server.address
    assert connection.namespace == "default"
    assert connection.ui_url == server.ui_url
    assert connection.data_dir == data_dir
    assert kg.connect() is connection
    assert server.address in repr(connection)


def test_another_server_by_address(other):
    """A run goes to the server that was named, and comes from there."""
    connection = kg.connect(other.address)
    assert connection.address == other.address
    run = doubled.start(4)
    assert run.result(30) == 8
    kg.disconnect()
    assert run.id not in kg.runs()["run_id"].tolist()


def test_a_server_from_the_environment(other, monkeypatch):
    """TEMPORAL_ADDRESS names the server when connect() is called without arguments."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", other.address)
    assert kg.connect().address == other.address


def test_without_the_search_attribute_gates_still_work(other, monkeypatch):
    """Where the server may not learn our search attribute, the memo alone carries open gates."""
    connection = kg.connect(other.address)
    monkeypatch.setattr(connection, "attribute", False)
    run = asks.start()
    run.wait_for_gate(30)
    eventually(lambda: run.id in kg.pending()["run_id"].tolist())
    assert run.id in kg.runs(status="waiting")["run_id"].tolist()
    run.approve(by="ann")
    assert run.result(30) == "ann"


def test_nobody_answers():
    """An address where nobody answers is ServerNotReady with the address and what to look at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ServerNotReady, match=address):
        kg.connect(address)


def test_plain_text_to_another_machine_is_refused():
    """Without TLS or a key, another machine is refused before anything is sent."""
    with pytest.raises(ServerError, match="tls=True"):
        kg.connect("temporal.example.com:7233")


def test_key_without_address():
    """api_key= without an address is a mistake that is named."""
    with pytest.raises(ValueError, match="address"):
        kg.connect(api_key="secret")
