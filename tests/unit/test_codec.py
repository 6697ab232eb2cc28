"""The payload codec: what it lets in, however often it comes."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload

from kaigents_nb.errors import UntrustedCode
from kaigents_nb.runtime import code
from kaigents_nb.runtime.code import HeldCode
from kaigents_nb.runtime.codec import VerifyingCodec
from kaigents_nb.runtime.protocol import CODE_ENCODING
from kaigents_nb.runtime.refused import check_admitted
from kaigents_nb.runtime.storage import FileStore
from kaigents_nb.snapshot.module import Snapshot
from tests.unit.snapshot_cells import notebook

KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.fixture(scope="module")
def snapshot() -> Iterator[Snapshot]:
    with notebook() as nb:
        nb.cells("def run(): return 'checked'")
        yield nb.freeze()


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was verified and unpacked."""
    unpacked: list[bytes] = []
    unpack = Snapshot.unpack

    def counted(data: bytes, key: bytes) -> Snapshot:
        unpacked.append(data)
        return unpack(data, key)

    monkeypatch.setattr(Snapshot, "unpack", counted)
    return unpacked


async def arrive(codec: VerifyingCodec, packed: bytes) -> bytes:
    [payload] = await codec.decode([Payload(data=packed, metadata={"encoding": CODE_ENCODING.encode()})])
    check_admitted(payload)  # what a run does with it first
    return payload.data


async def test_code_is_checked_for_each_key(tmp_path: Path, snapshot: Snapshot, unpacked: list[bytes]) -> None:
    """The same signed bytes are checked once by each codec; altered ones, and those of another key, never get in."""
    packed, digest = snapshot.pack(KEY), f'"{snapshot.digest}"'.encode()
    mine, other = VerifyingCodec(KEY, FileStore(tmp_path)), VerifyingCodec(OTHER, FileStore(tmp_path))
    assert [await arrive(mine, packed) for _ in range(5)] == [digest] * 5
    assert unpacked == [packed]
    for _ in range(2):
        with pytest.raises(UntrustedCode):
            await arrive(other, packed)
        with pytest.raises(UntrustedCode):
            await arrive(mine, packed[:-1] + bytes([packed[-1] ^ 1]))
    assert await arrive(other, snapshot.pack(OTHER)) == digest


async def test_code_that_was_let_go_is_unpacked_again(
    tmp_path: Path, snapshot: Snapshot, unpacked: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives can be had by its digest, also when the process had it before and let it go."""
    codec, packed = VerifyingCodec(KEY, FileStore(tmp_path)), snapshot.pack(KEY)
    for times in (1, 2):
        fresh = HeldCode()
        for name, method in (("held", fresh.get), ("hold", fresh.add)):
            monkeypatch.setattr(code, name, method)
            monkeypatch.setattr(f"kaigents_nb.runtime.codec.{name}", method)
        gc.collect()
        await arrive(codec, packed)
        assert fresh.get(snapshot.digest) is not None
        assert len(unpacked) == times


async def test_code_that_arrives_together_is_imported_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that import a package and others that import a part of it get both whole from a fresh worker."""
    installed = tmp_path / "site-packages"  # a module beside the notebook would travel with the code
    package = installed / "whole_package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import time\ntime.sleep(0.1)\nREADY = True\n")
    (package / "part.py").write_text("import whole_package\nDONE = whole_package.READY\n")
    monkeypatch.syspath_prepend(str(installed))
    packed = {}
    for number in range(8):
        name = "whole_package" if number % 2 else "whole_package.part"
        with notebook() as nb:
            nb.cells(f"import {name} as m\ndef run(): return m.__name__, {number}")
            packed[nb.freeze().pack(KEY)] = name
    for module in ("whole_package", "whole_package.part"):
        monkeypatch.delitem(sys.modules, module)
    codec = VerifyingCodec(KEY, FileStore(tmp_path))

    async def is_whole(code: bytes, name: str, last: str) -> bool:
        await arrive(codec, code)
        return hasattr(sys.modules.get(name), last)

    last = {"whole_package": "READY", "whole_package.part": "DONE"}
    assert all(await asyncio.gather(*(is_whole(code, name, last[name]) for code, name in packed.items())))
