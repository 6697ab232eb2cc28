"""Only signed code runs, files are private, and what models and users write is data."""

from __future__ import annotations

import base64
import uuid

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

import kaigents_nb as kg
from kaigents_nb.control.run import Run
from kaigents_nb.runtime.connecting import current
from kaigents_nb.runtime.protocol import CODE_ENCODING, Launch, to_wire
from kaigents_nb.runtime.queue import task_queue
from kaigents_nb.snapshot.freeze import freeze
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("server")


@kg.step
def mark(path):
    with open(path, "w") as file:
        file.write("executed")


@kg.agent
async def marks(path):
    await mark(path)


@kg.agent
async def asks():
    await kg.approve("Go on?")


def start_packed(packed: bytes, path: str) -> Run:
    """Start a run with code of our own making, as anybody who reaches the server could."""
    connection = current()
    snapshot = freeze(marks)
    launch = Launch(agent=snapshot.root, code=snapshot.digest, positional=1)
    code = RawValue(Payload(data=packed, metadata={"encoding": CODE_ENCODING.encode()}))
    run_id = f"forged-{uuid.uuid4().hex[:8]}"

    async def begin():
        await connection.client.start_workflow(
            "marks", args=[to_wire(launch), code, path], id=run_id, task_queue=task_queue()
        )

    connection.run(begin)
    connection.serve(task_queue())
    return Run(connection, run_id)


@pytest.mark.parametrize("kind", ["other key", "altered", "garbage", "empty"])
def test_code_that_is_not_ours_is_not_executed(kind, tmp_path):
    """Code signed with another key, altered or unsigned never runs; the run says why and is not lost."""
    snapshot, path = freeze(marks), tmp_path / "executed"
    good = snapshot.pack(current().key)
    packed = {
        "other key": snapshot.pack(b"x" * 32),
        "altered": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:],
        "garbage": base64.b64encode(b"import os; os.system('true')"),
        "empty": b"",
    }[kind]
    run = start_packed(packed, str(path))
    view = eventually(lambda: (v := run.view()).status == "stuck" and v, message="refused")
    assert "nothing is lost" in view.problem.replace("\n", " ")
    assert not path.exists()
    run.terminate()


def test_files_are_private(data_dir):
    """Everything in the data directory is for the user alone."""
    marks_run = asks.start()
    marks_run.wait_for_gate(30)
    marks_run.terminate()
    open_to_others = [path for path in data_dir.rglob("*") if not path.is_symlink() and path.lstat().st_mode & 0o077]
    assert open_to_others == []


def test_markup_in_a_question_is_shown_as_text():
    """A question, detail or comment with markup is escaped on the card."""
    from kaigents_nb.display.blocks_html import root
    from kaigents_nb.display.run_blocks import run_blocks

    run = evil.start()
    run.wait_for_gate(30)
    page = root(run_blocks(run.view()))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    run.reject(comment="<img src=x onerror=alert(1)>")
    run.result(30)
    assert "<img" not in root(run_blocks(run.view()))


@kg.agent
async def evil():
    await kg.approve("<script>alert(1)</script>", details={"<b>": "<script>x</script>"})
