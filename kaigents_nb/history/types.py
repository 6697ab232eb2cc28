"""Values of a run, read back in this process: which class is meant by a name in the history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload

from kaigents_nb.runtime.code import Code, held
from kaigents_nb.runtime.payloads import value
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.values.types import resolve_loaded

if TYPE_CHECKING:
    from kaigents_nb.history.fold import RunFold
    from kaigents_nb.runtime.connection import Connection


class RunTypes:
    """Decodes a run's payloads: with the notebook's own classes where it has them, else with those of the run."""

    def __init__(self, connection: Connection, fold: RunFold) -> None:
        self._connection = connection
        self._fold = fold
        self._loaded: LoadedCode | None = None

    async def fetched(self, payload: Payload) -> Payload:
        """Return the payload itself, read from its file if it is kept there."""
        return await self._connection.fetch(payload)

    async def value(self, payload: Payload) -> Any:
        """Decode one payload."""
        fetched = await self.fetched(payload)
        await self.code()
        return value(fetched, self.resolve)

    async def code(self) -> Code | None:
        """Return the code the run carries, verified."""
        payload = self._fold.code_payload
        if payload is None:
            return None
        digest = self._fold.launch.code
        if held(digest) is None:
            await self._connection.client.data_converter.decode([payload])
        return held(digest)

    def resolve(self, module: str, qualname: str) -> type:
        """Return the class of that name."""
        code = held(self._fold.launch.code)
        home = code.snapshot.module if code is not None else "__main__"
        if module in ("__main__", home):
            mine: Any = sys.modules.get(home)
            for part in qualname.split("."):
                mine = getattr(mine, part, None)
            if isinstance(mine, type):
                found: type = mine
                return found
        if code is not None:
            if self._loaded is None:
                self._loaded = load(code.snapshot, [], for_agent=False)
            return self._loaded.resolve(module, qualname)
        return resolve_loaded(module, qualname)
