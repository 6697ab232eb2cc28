"""The module that a run's code is loaded into, as pickles see it.

Other libraries pickle what a step hands them. joblib's processes, and others that use cloudpickle, are sent functions
and classes of cells by value, as those of a notebook are, for they can't import them. A plain pickle has their names:
read by a cell, those mean the notebook's own functions and classes; read by a step, those of its run.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from types import ModuleType
from typing import Any, Protocol

from kaigents_nb.values.class_names import MAIN
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

_CLOUDPICKLES = ("cloudpickle", "joblib.externals.cloudpickle", "ray.cloudpickle", "pyspark.cloudpickle")
_PACKAGE = RUN_MODULE_PREFIX.rpartition(".")[0]
_MISSING = object()


class _Code(Protocol):
    module: ModuleType
    namespace: dict[str, Any]

    def knows(self, name: str) -> bool: ...

    def get(self, name: str) -> Any: ...


executing: ContextVar[_Code | None] = ContextVar("kaigents_code", default=None)
"""The loaded code whose step is executed."""


class RunModule(ModuleType):
    """The code of a run. Its ``__dict__`` is the code's namespace; who asks for an attribute may be a pickle."""

    def __init__(self, name: str, doc: str) -> None:
        super().__init__(name, doc)
        vars(self)["__pid__"] = os.getpid()

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__"):
            return super().__getattribute__(name)
        _send_by_value()
        found = _of_others(self, name)
        return super().__getattribute__(name) if found is _MISSING else found


class Elsewhere(ModuleType):
    """Stands for the code of a run that is not loaded here."""

    def __getattr__(self, name: str) -> Any:
        found = _MISSING if name.startswith("__") else _of_others(self, name)
        if found is _MISSING:
            raise AttributeError(name)
        return found

    def __repr__(self) -> str:
        return "<the cells of this notebook: run the one that defines it>"


def _of_others(module: ModuleType, name: str) -> object:
    """Return what a name of a run's code means to who asks, where that is not what this code has."""
    code = executing.get()
    if code is not None:
        return code.get(name) if code.module is not module and code.knows(name) else _MISSING
    own: Mapping[str, Any] = vars(module)
    # Steps are executed in other threads, and a child that a step has forked goes on with the step's code.
    if threading.current_thread() is not threading.main_thread() or own.get("__pid__", os.getpid()) != os.getpid():
        return _MISSING
    found = vars(sys.modules[MAIN]).get(name, _MISSING)
    return found if name not in own or type(found) is type(own[name]) else _MISSING


def _send_by_value() -> None:
    """Have every cloudpickle that is loaded send the code of runs by value.

    At the last moment, as a step may import it: an attribute is looked up before it is asked who goes by value.
    """
    package = importlib.import_module(_PACKAGE)
    for name in _CLOUDPICKLES:
        library = sys.modules.get(name)
        if library is not None:
            library.register_pickle_by_value(package)
