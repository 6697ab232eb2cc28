"""Values of a run, read back in this process: which class is meant by a name in the history."""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from kaigents_nb.errors import SnapshotError
from kaigents_nb.runtime.code import Code, held
from kaigents_nb.runtime.payloads import plain, value
from kaigents_nb.runtime.refused import check_admitted
from kaigents_nb.snapshot.cells import parse_once
from kaigents_nb.snapshot.load import LoadedCode, load
from kaigents_nb.values.class_names import resolve_loaded

if TYPE_CHECKING:
    from kaigents_nb.history.fold import RunFold
    from kaigents_nb.runtime.connection import Connection


@functools.lru_cache(maxsize=8)
def _parameters(source: str) -> dict[str, tuple[str, ...]]:
    functions = [
        node for node in ast.walk(parse_once(source)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    return {node.name: tuple(arg.arg for arg in (*node.args.posonlyargs, *node.args.args)) for node in functions}


class Decoder:
    """Decodes a run's payloads: with the notebook's own classes where it has them, else with those of the run."""

    def __init__(self, connection: Connection, fold: RunFold) -> None:
        self._connection = connection
        self._fold = fold
        self._code: Code | None = None
        self._loaded: LoadedCode | None = None

    async def value(self, payload: Payload) -> Any:
        """Decode one payload."""
        fetched = await self._connection.fetch(payload)
        await self.code()
        return value(fetched, self.resolve)

    async def code(self, mended: Payload | None = None) -> Code | None:
        """Return the code the run carries, or that of a mend, verified."""
        if mended is not None:
            [arrived] = await self._connection.client.data_converter.decode([mended], [RawValue])
            check_admitted(arrived.payload)
            return held(plain(arrived.payload))
        payload = self._fold.code_payload
        if self._code is None and payload is not None:
            digest = self._fold.launch.code
            self._code = held(digest)
            if self._code is None:
                [arrived] = await self._connection.client.data_converter.decode([payload], [RawValue])
                check_admitted(arrived.payload)
                self._code = held(digest)
        return self._code

    async def check_readable(self, classes: Iterable[type]) -> None:
        """Refuse classes that the run could not read.

        Raises
        ------
        ConversionError
            Saying what to do.
        """
        code = await self.code()
        if code is not None:
            loaded = self._load(code)
            for cls in classes:
                loaded.check_readable(cls)

    async def parameters(self, name: str) -> tuple[str, ...]:
        """Return the names that a step's or agent's positional arguments go to, ``()`` where they aren't known."""
        try:
            code = await self.code()
        except SnapshotError:
            code = None  # signed with another key: what can be read without the code still is
        return _parameters(code.snapshot.source).get(name, ()) if code is not None else ()

    def resolve(self, module: str, qualname: str) -> type:
        """Return the class of that name."""
        code = self._code
        home = code.snapshot.module if code is not None else "__main__"
        beside = {item.name for item in code.snapshot.local} if code is not None else set()
        if module in ("__main__", home) or module in beside:
            mine: Any = sys.modules.get(module if module in beside else home)
            for part in qualname.split("."):
                mine = getattr(mine, part, None)
            if isinstance(mine, type):
                return mine
        if code is not None:
            return self._load(code).resolve(module, qualname)
        return resolve_loaded(module, qualname)

    def _load(self, code: Code) -> LoadedCode:
        if self._loaded is None:
            self._loaded = load(code.snapshot, [], for_agent=False)
        return self._loaded
