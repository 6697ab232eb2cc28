"""The code of a run: a readable module in pieces, each with where it came from and what it needs."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from kaigents_nb.authoring.options import Retry, StepOptions
from kaigents_nb.errors import SnapshotError, UntrustedCode
from kaigents_nb.snapshot.cells import OWN_FILES, compile_quietly, parse_once
from kaigents_nb.snapshot.local_modules import LocalModule, local_filename, named_tree
from kaigents_nb.snapshot.own_calls import has_coroutines, noting
from kaigents_nb.snapshot.packages import LOCAL, installed_version
from kaigents_nb.snapshot.signing import sign, verify
from kaigents_nb.values.encoded import Encoded

FORMAT = 2
_FORMATS = (1, FORMAT)
"""2: state, told or carried with the code. Code without any is packed as before, so that its digest stays the same."""
_SINCE_2 = ("told", "settings", "local", "installed", "untouched")
UNPACKED_LIMIT_BYTES = 64 * 2**20
"""Largest content of a packed snapshot; more is refused, as it would fill the worker's memory."""


@dataclass(frozen=True)
class Part:
    """A piece of source and the place it was taken from."""

    text: str
    label: str = ""
    """The cell, such as ``"In [3]"``; empty for a line that freezing wrote itself."""
    line: int = 0
    """The line in that cell of the first line of ``text``."""


@dataclass(frozen=True, eq=False)
class Definition:
    """One entry of the frozen module: it gives meaning to some global names."""

    names: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    value: Encoded | None = None
    """A captured value that is not short enough to stand in the text."""
    needs_now: tuple[str, ...] = ()
    """Global names needed to execute the definition."""
    needs_later: tuple[str, ...] = ()
    """Global names needed when what it defines is used."""
    temporary: tuple[str, ...] = ()
    """Names that its parts bind on the way and that belong to other definitions, or to none."""
    flags: int = 0
    """``from __future__`` flags to compile it with."""
    real: bool = False
    """Makes types: inside the workflow sandbox it must see the real modules behind the guarded ones."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a worker needs to execute an agent (or step) without the notebook."""

    root: str
    """The global name of the agent or step."""
    root_name: str
    title: str
    python: str
    """Version of Python, such as ``"3.11.7"``."""
    definitions: tuple[Definition, ...]
    """In an order in which they can be executed."""
    steps: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By step name: ``global`` (what to give to :meth:`LoadedCode.get`) and the options, durations in seconds."""
    agents: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By agent name: ``global``."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """Version by distribution, ``"local"`` by module for files beside the notebook."""
    modules: tuple[str, ...] = ()
    """Names of the modules that the code imports, such as ``"sklearn.linear_model"``."""
    module: str = "__main__"
    """The module that the definitions lived in."""
    package: str = ""
    """Its package, for relative imports."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Global name by class name, for classes bound to another name than their own."""
    told: tuple[str, ...] = ()
    """What does not travel, in sentences, each with the way out."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How decimal and numpy compute; see :mod:`~kaigents_nb.snapshot.settings`."""
    local: tuple[LocalModule, ...] = ()
    """Modules from beside the notebook."""
    installed: Mapping[str, str] = field(default_factory=dict)
    """Distribution by module, for what was installed and is not among ``modules`` or has another name than it."""
    untouched: Mapping[str, str] = field(default_factory=dict)
    """Names of data that executing the definitions does not change, and what they hold meanwhile; see
    :mod:`~kaigents_nb.snapshot.untouched`."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def step_global(self, name: str) -> str:
        """Return what to give to :meth:`LoadedCode.get` for the step of a name."""
        return str(self._known(self.steps, "step", name)["global"])

    def agent_global(self, name: str) -> str:
        """Return what to give to :meth:`LoadedCode.get` for the agent of a name."""
        return str(self._known(self.agents, "agent", name)["global"])

    def callable_global(self, name: str) -> str:
        """Return what to give to :meth:`LoadedCode.get` for what is called by a name: a step or an agent."""
        return str(self._known({**self.agents, **self.steps}, "step or agent", name)["global"])

    def options(self, name: str) -> StepOptions:
        """Return the options of a step, but for ``give_up_on``, whose classes only the loaded step has."""
        raw = self._known(self.steps, "step", name)
        return StepOptions(timeout=raw["timeout_s"], retry=Retry(**raw["retry"]))

    def _known(self, table: Mapping[str, Mapping[str, Any]], kind: str, name: str) -> Mapping[str, Any]:
        if name not in table:
            raise SnapshotError(
                f"The run's code has no {kind} {name!r}. Known: {sorted(table)}. Define it at the top level of a cell "
                f"and use it by its name in {self.root_name}."
            )
        return table[name]

    def had(self, top: str) -> bool:
        """Tell whether a module (not inside a package) could be imported where the code was frozen."""
        return top in self.installed or any(module.partition(".")[0] == top for module in self.modules)

    def package_differences(self) -> list[str]:
        """Return where this process has other versions than the code was frozen with, such as ``pandas 2.2 → 3.1``."""
        found = []
        for name, version in sorted(self.packages.items()):
            here = installed_version(name)
            if version != LOCAL and here != version:
                found.append(f"{name} {version} → {here or 'not installed'}")
        return found

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content, as hex."""
        return hashlib.sha256(self._content).hexdigest()

    def content_of(self, name: str) -> str:
        """Return what tells a global name, with all that it needs, from other code: a digest of text and values.

        Where the cells are does not count, nor what else the snapshot holds.
        """
        content, waiting, seen = hashlib.sha256(), [name], set()
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            for definition in self.definitions:
                if current in definition.names:
                    waiting += [*definition.needs_now, *definition.needs_later]
        for definition in sorted(self.definitions, key=lambda one: one.names):
            if seen.intersection(definition.names):
                texts = [part.text for part in definition.parts]
                content.update(json.dumps([definition.names, texts]).encode())
                content.update(definition.value.data if definition.value is not None else b"")
        return content.hexdigest()

    @property
    def size_bytes(self) -> int:
        """Size of the content, not compressed."""
        return len(self._content)

    @property
    def filename(self) -> str:
        """The file name that compiled code carries."""
        return f"{OWN_FILES}{self.digest[:12]}>"

    @functools.cached_property
    def source(self) -> str:
        """The code as one readable module."""
        return "\n".join(self._layout[0]) + "\n"

    @property
    def text(self) -> str:
        """The code with the local modules that it carries, each below its name."""
        parts = [self.source]
        for module in self.local:
            parts.append(f"# {module.file}, which travels with the code\n\n{module.source.rstrip()}\n")
            if module.state:
                parts.append(f"# {module.file}, as it was at the start\n{module.state.rstrip()}\n")
        return "\n\n".join(parts)

    def where(self, line: int) -> tuple[str, int] | None:
        """Return the cell and its line for a line of ``source``; None for a line that no cell has.

        Examples
        --------
        ``snapshot.where(12) == ("In [3]", 5)``
        """
        return self._layout[2].get(line)

    def compiled(self, definition: Definition, *, noted: bool = False) -> tuple[CodeType, ...]:
        """Return the code of each part of a definition, compiled once for all who load it. Raises SyntaxError.

        ``noted``: what its calls give is noted, as :mod:`own_calls <kaigents_nb.snapshot.own_calls>` says.
        """
        if (definition, noted) not in self._compiled:
            texts = [
                "\n" * (line - 1) + part.text
                for part, line in zip(definition.parts, self._layout[1][definition], strict=True)
            ]
            self._compiled[definition, noted] = tuple(
                compile_quietly(noting(parse_once(text)) if noted else text, self.filename, definition.flags)
                for text in texts
            )
        return self._compiled[definition, noted]

    def compiled_module(self, module: LocalModule, *, noted: bool = False) -> CodeType:
        """Return the code of a local module, compiled once for all who load it. Raises SyntaxError."""
        if (module.name, noted) not in self._compiled_modules:
            tree = named_tree(module)
            code = compile_quietly(noting(tree) if noted else tree, local_filename(self.filename, module))
            self._compiled_modules[module.name, noted] = code
        return self._compiled_modules[module.name, noted]

    @functools.cached_property
    def has_coroutines(self) -> bool:
        """Whether the code has coroutine functions beside its agents and steps."""
        known = {entry["global"] for table in (self.agents, self.steps) for entry in table.values()}
        return has_coroutines(parse_once(self.source), known) or any(
            has_coroutines(parse_once(module.source), set()) for module in self.local
        )

    @functools.cached_property
    def _compiled_modules(self) -> dict[tuple[str, bool], CodeType]:
        return {}

    @functools.cached_property
    def _compiled(self) -> dict[tuple[Definition, bool], tuple[CodeType, ...]]:
        return {}

    @functools.cached_property
    def _layout(self) -> tuple[list[str], dict[Definition, list[int]], dict[int, tuple[str, int]]]:
        """Return the lines of the module, where each definition's parts start, and the map back to the cells."""
        lines = [f"# The code of {self.root_name}, frozen with Python {self.python}."]
        if packages := ", ".join(f"{name} {version}" for name, version in sorted(self.packages.items())):
            lines.append(f"# Packages: {packages}.")
        starts: dict[Definition, list[int]] = {}
        cells: dict[int, tuple[str, int]] = {}
        place = ("", 0)
        for definition in self.definitions:
            begins = starts[definition] = []
            for part in definition.parts:
                text = part.text.split("\n")
                # Imports of one cell stay together; all else stands apart under where it came from.
                compact = len(text) == 1 and part.text.startswith(("import ", "from "))
                if not (compact and place == (part.label, 1)):
                    lines += ["", *([f"# {part.label}, line {part.line}"] if part.label else [])]
                place = (part.label, 1) if compact else ("", 0)
                begins.append(len(lines) + 1)
                if part.label:
                    cells.update({len(lines) + 1 + i: (part.label, part.line + i) for i in range(len(text))})
                lines += text
        return lines, starts, cells

    # --- bytes ------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def _content(self) -> bytes:
        raw = {key: value for key, value in vars(self).items() if key in self.__dataclass_fields__}
        raw["definitions"] = [_definition_to_json(d) for d in self.definitions]
        raw["local"] = [vars(module) for module in self.local]
        newer = any(raw[key] for key in _SINCE_2) or any(
            len(d.names) > 1 for d in self.definitions if d.value is not None
        )
        for key in _SINCE_2:
            if not raw[key]:
                del raw[key]
        raw["format"] = FORMAT if newer else 1
        return json.dumps(raw, sort_keys=True, separators=(",", ":"), default=dict).encode()

    def pack(self, key: bytes) -> bytes:
        """Return the snapshot as compressed, signed bytes."""
        return sign(zlib.compress(self._content), key)

    @classmethod
    def unpack(cls, data: bytes, key: bytes) -> Snapshot:
        """Return a packed snapshot, once its signature is checked.

        Raises
        ------
        UntrustedCode
            When it is unsigned, altered, or signed with another key.
        SnapshotError
            When a newer version of this library made it.
        """
        body = verify(data, key)
        reader = zlib.decompressobj()
        try:
            content = reader.decompress(body, UNPACKED_LIMIT_BYTES)
        except zlib.error as error:
            raise UntrustedCode(f"The run's code is signed but can't be unpacked: {error}.") from error
        if reader.unconsumed_tail or not reader.eof:
            raise UntrustedCode(
                f"The run's code is larger than {UNPACKED_LIMIT_BYTES // 2**20} MB unpacked; it is not executed."
            )
        raw = json.loads(content)
        if raw.pop("format") not in _FORMATS:
            raise SnapshotError(
                "The run's code was packed by another version of kaigents-nb. Update kaigents-nb on this worker."
            )
        raw["definitions"] = tuple(_definition_from_json(d) for d in raw["definitions"])
        raw["modules"] = tuple(raw["modules"])
        raw["told"] = tuple(raw.get("told", ()))
        raw["local"] = tuple(LocalModule(**module) for module in raw.get("local", ()))
        return cls(**raw)


def _definition_to_json(definition: Definition) -> dict[str, Any]:
    raw = {key: value for key, value in vars(definition).items() if value}
    raw["parts"] = [[part.text, part.label, part.line] for part in definition.parts]
    if definition.value is not None:
        value = definition.value
        data = base64.b64encode(value.data).decode()
        raw["value"] = {"encoding": value.encoding, "data": data, "meta": dict(value.meta)}
    return raw


def _definition_from_json(raw: dict[str, Any]) -> Definition:
    raw["parts"] = tuple(Part(*part) for part in raw["parts"])
    if "value" in raw:
        value = raw["value"]
        raw["value"] = Encoded(value["encoding"], base64.b64decode(value["data"]), value["meta"])
    for key in ("names", "needs_now", "needs_later", "temporary"):
        raw[key] = tuple(raw.get(key, ()))
    return Definition(**raw)
