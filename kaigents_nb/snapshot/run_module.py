"""The modules that a run's code is loaded into, as pickles see them.

Other libraries pickle what a step hands them. joblib's processes, and others that use cloudpickle, are sent functions
and classes of a run by value, as those of a notebook are, for they can't import them. A plain pickle has their names:
read by a cell, those mean the notebook's own functions and classes; read by a step, those of its run.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Protocol

from kaigents_nb.values.class_names import MAIN, own_module
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

_MISSING = object()


class _Code(Protocol):
    module: ModuleType

    def held(self, module: str, name: str) -> Any:
        """Return what the run has under a name in a module of its own; raises LookupError."""
        ...


executing: ContextVar[_Code | None] = ContextVar("kaigents_code", default=None)
"""The loaded code whose step is executed."""


class RunModule(ModuleType):
    """A module of a run. Its ``__dict__`` is the namespace of its code; who asks for an attribute may be a pickle."""

    def __init__(self, name: str, doc: str | None = None) -> None:
        super().__init__(name, doc)
        vars(self).update(__registered__=name, __pid__=os.getpid())

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        if _asked_by_cloudpickle():
            raise AttributeError(name)  # what it does not find by name it sends by value
        own = vars(self)
        registered = own["__registered__"]
        if own_module(registered) or own["__pid__"] != os.getpid():
            # It is imported from, or in a child that a step has forked, which goes on with the step's code.
            return super().__getattribute__(name)
        found = _of_others(registered, name)
        if found is _MISSING or (name in own and type(found) is not type(own[name])):
            return super().__getattribute__(name)
        return found


class Elsewhere(ModuleType):
    """Stands for a module of a run that is not loaded here."""

    def __getattr__(self, name: str) -> Any:
        found = _MISSING if name.startswith("__") else _of_others(self.__name__, name)
        if found is _MISSING:
            raise AttributeError(name)
        return found

    def __repr__(self) -> str:
        return "<the cells of this notebook: run the one that defines it>"


def _of_others(registered: str, name: str) -> object:
    """Return what a name in a run's module means to who asks, where that may be another thing than the run's own."""
    own = own_module(registered)
    code = executing.get()
    if code is not None:
        run = RUN_MODULE_PREFIX + registered.removeprefix(RUN_MODULE_PREFIX).partition(".")[0]
        try:
            return _MISSING if code.module.__name__ == run else code.held(own, name)
        except LookupError:
            return _MISSING
    # Steps are executed in other threads.
    if threading.current_thread() is not threading.main_thread():
        return _MISSING
    try:
        module = sys.modules[MAIN] if not own else importlib.import_module(own)
    except ImportError:
        return _MISSING
    return vars(module).get(name, _MISSING)


def _asked_by_cloudpickle() -> bool:
    """Tell whether cloudpickle looks a function or class up by its name, be it its own package or a library's copy."""
    frame = sys._getframe(2)
    for _ in range(2):
        if str(frame.f_globals.get("__name__", "")).endswith("cloudpickle"):
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False
