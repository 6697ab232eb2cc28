"""Names of classes on the wire, and the classes behind the names."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import sys
from types import ModuleType

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

MAIN = "__main__"
BUILTIN_BASES: tuple[type, ...] = (
    str, int, float, complex, bytes, bytearray, list, tuple, dict, set, frozenset,
    decimal.Decimal, dt.datetime, dt.date, dt.time, dt.timedelta,
)  # fmt: skip
"""What a class of the analyst's own may extend; such a value is rebuilt without running any of its code."""

KINDS = "a dataclass, pydantic model, Enum, NamedTuple or a subclass of a built-in type"


def type_name(cls: type) -> tuple[str, str]:
    """Return the module and qualified name under which a class is saved.

    A class from a cell is in ``"__main__"``, and one of a module beside the notebook in that, wherever their code is
    loaded at the moment.

    Raises
    ------
    ConversionError
        When nobody could find the class by that: it is defined in a function, or no global name is bound to it.

    Examples
    --------
    >>> from fractions import Fraction
    >>> type_name(Fraction)
    ('fractions', 'Fraction')
    """
    module, qualname = cls.__module__, cls.__qualname__
    outer, local, _ = qualname.rpartition(".<locals>.")
    if local:
        raise ConversionError(
            f"Class {cls.__name__} is defined inside {outer.rpartition('.')[2]}(), and can't be found. "
            "Define it at the top level of a cell or module."
        )
    loaded = sys.modules.get(module)
    if loaded is not None and module != MAIN and find_class(loaded, module, qualname) is None:
        # Such as make_dataclass(), which knows the module it is called from only since Python 3.12.
        module, qualname = _bound(cls)
    return own_module(module) or MAIN, qualname


def own_module(module: str) -> str:
    """Return a module's name without what says of which run it is; ``""`` for the module of the cells."""
    run = module.removeprefix(RUN_MODULE_PREFIX)
    return module if run == module else run.partition(".")[2]


def _bound(cls: type) -> tuple[str, str]:
    """Return the module and global name to which a class is bound that its own module doesn't know."""
    for module, loaded in sys.modules.copy().items():  # another thread may import meanwhile
        if getattr(loaded, "__dict__", {}).get(cls.__name__) is cls:
            return module, cls.__name__
    for module, loaded in sys.modules.copy().items():  # another thread may import meanwhile
        for name, found in list(getattr(loaded, "__dict__", {}).items()):
            if found is cls:
                return module, name
    raise ConversionError(
        f"Class {cls.__qualname__} can't be found in {cls.__module__}: no name is bound to it there. "
        "Define it at the top level of a cell or module, under its own name."
    )


def find_class(loaded: ModuleType, module: str, qualname: str) -> object:
    """Return what the module of that name holds under a class's name, or None; never runs code of the module.

    A class that is bound to another name than its own (``functools._CacheInfo`` calls itself ``CacheInfo``) is found
    by its own.
    """
    found: object = loaded
    for part in qualname.split("."):
        # vars() and not getattr: a module or class must not get to compute an answer.
        found = vars(found).get(part) if isinstance(found, type) or found is loaded else None
    if found is not None:
        return found
    for item in list(vars(loaded).values()):
        # Not isinstance, which asks a proxy for its class, and so may build what is behind it.
        if issubclass(type(item), type) and (item.__module__, item.__qualname__) == (module, qualname):
            named: object = item
            return named
    return None


def display_name(cls: type) -> str:
    """Return a class's name as people read it: ``Supplier`` from a cell, ``openai.OpenAI`` from a module."""
    module = getattr(cls, "__module__", "builtins")
    name: str = getattr(cls, "__qualname__", "?").rpartition("<locals>.")[2]
    if not isinstance(module, str) or own_module(module) in ("", MAIN, "builtins"):
        return name
    return f"{own_module(module)}.{name}"


def resolve_loaded(module: str, qualname: str) -> type:
    """Return a class from the modules that are loaded already; never imports and never runs code.

    Raises
    ------
    LookupError
        When the module is not loaded, has no such class, or what is there is not a class of plain data: a
        dataclass, pydantic model, Enum, NamedTuple or a subclass of a built-in type.
    """
    loaded = sys.modules.get(module)
    if loaded is None:
        raise LookupError(f"module {module!r} is not imported here")
    found = find_class(loaded, module, qualname)
    if found is None:
        raise LookupError(f"module {module!r} has no {qualname!r}")
    if not isinstance(found, type) or not is_data_class(found):
        raise LookupError(f"{module}:{qualname} is not {KINDS}")
    return found


def is_data_class(cls: type) -> bool:
    """Tell whether instances of a class are plain data that can be rebuilt without running its code."""
    return (
        dataclasses.is_dataclass(cls)
        or issubclass(cls, enum.Enum)
        or is_pydantic_model(cls)
        or is_builtin_subclass(cls)
        or is_namedtuple(cls)
    )


def base_names(cls: type) -> frozenset[str]:
    """Return a class and its bases as ``library.Name``.

    Names do without an import and without ``sys.modules``, which is another one in a workflow's sandbox.
    """
    return frozenset(f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in cls.__mro__)


def is_pydantic_model(cls: type) -> bool:
    """Tell whether a class is a pydantic (v2) model, without importing pydantic."""
    return "pydantic.BaseModel" in base_names(cls)


def is_namedtuple(cls: type) -> bool:
    """Tell whether a class was made by ``NamedTuple`` or ``namedtuple``."""
    return issubclass(cls, tuple) and isinstance(vars(cls).get("_fields"), tuple)


def is_builtin_subclass(cls: type) -> bool:
    """Tell whether a class is written in Python and directly extends one built-in type."""
    return (
        cls not in BUILTIN_BASES
        and bool(cls.__flags__ & (1 << 9))  # Py_TPFLAGS_HEAPTYPE: made by a class statement
        and not hasattr(cls, "n_sequence_fields")  # os.stat_result and the like
        and builtin_base(cls) is not None
    )


def builtin_base(cls: type) -> type | None:
    """Return the one built-in type that holds a subclass's content; None when there is more to it."""
    # Decimal was made by a class statement, as far as its flag tells, since Python 3.12.
    native = [base for base in cls.__mro__ if base in BUILTIN_BASES or not base.__flags__ & (1 << 9)]
    base = native[0]
    return base if base in BUILTIN_BASES and set(native) <= set(base.__mro__) else None
