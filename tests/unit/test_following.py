"""Following a run and the agents it called: what fails is told to whoever waits, and to nobody else."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from kaigents_nb.history.following import Following


async def test_all_that_fail_together_are_heard() -> None:
    """A run and an agent it called lose the server at once: the first error is raised, the loop prints none."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fails(number: int) -> None:
        raise ConnectionError(f"{number}")

    following = Following(None)  # type: ignore[arg-type]  # no observer is read before it fails
    for number in range(3):
        following._begin(str(number), fails(number))
    with pytest.raises(ConnectionError, match="0"):
        await following.change()
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []
