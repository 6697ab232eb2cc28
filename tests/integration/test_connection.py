"""Connecting: the embedded server by itself, others by address, and what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import pytest
import trustme
from temporalio.client import TLSConfig

import kaigents_nb as kg
from kaigents_nb.errors import ServerError, ServerNotReady
from kaigents_nb.runtime.loop import LoopThread
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


@pytest.fixture
def secured(other, tmp_path) -> Iterator[tuple[str, bytes]]:
    """The other server behind TLS, as a cluster would be: its address, and the certificate to trust."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    host, _, port = other.address.rpartition(":")

    writers: list[asyncio.StreamWriter] = []

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, their_writer), pipe(their_reader, writer))

    async def start() -> asyncio.Server:
        return await asyncio.start_server(relay, "localhost", 0, ssl=context, family=socket.AF_INET)

    async def stop() -> None:
        relaying.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    thread = LoopThread("tls relay")
    relaying = thread.run(start())
    yield f"localhost:{relaying.sockets[0].getsockname()[1]}", authority.cert_pem.bytes()
    kg.disconnect()
    thread.run(stop())
    thread.stop()


def test_a_cluster_with_tls_and_a_key(secured):
    """TLS with a certificate of one's own, and an API key beside it."""
    address, certificate = secured
    connection = kg.connect(address, tls=TLSConfig(server_root_ca_cert=certificate), api_key="key", namespace="default")
    assert connection.client.api_key == "key"
    assert doubled.start(4).result(30) == 8


def test_plain_text_is_not_taken_by_a_tls_server(secured):
    """A server that wants TLS does not answer plain text; the error names tls=."""
    with pytest.raises(ServerNotReady, match="tls="):
        kg.connect(secured[0])


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
