"""Names of classes on the wire, and the classes behind the names."""

from __future__ import annotations

import dataclasses
import enum
import sys

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

MAIN = "__main__"
BUILTIN_BASES: tuple[type, ...] = (str, int, float, bytes, list, tuple, dict, set, frozenset)
"""What a class of the analyst's own may extend; such a value is rebuilt without running any of its code."""

KINDS = "a dataclass, pydantic model, Enum, NamedTuple or a subclass of a built-in type"


def type_name(cls: type) -> tuple[str, str]:
    """Return the module and qualified name under which a class is saved.

    A class from a cell is in ``"__main__"``, and one of a module beside the notebook in that, wherever their code is
    loaded at the moment.

    Raises
    ------
    ConversionError
        When the class is defined in a function, where nobody else can find it.

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
    return own_module(module) or MAIN, qualname


def own_module(module: str) -> str:
    """Return a module's name without what says of which run it is; ``""`` for the module of the cells."""
    return module.partition(".")[2] if module.startswith(RUN_MODULE_PREFIX) else module


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
    found: object = loaded
    for part in qualname.split("."):
        # vars() and not getattr: a module or class must not get to compute an answer.
        found = vars(found).get(part) if isinstance(found, type) or found is loaded else None
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
    native = [base for base in cls.__mro__ if not base.__flags__ & (1 << 9) and base is not object]
    return native[0] if len(native) == 1 and native[0] in BUILTIN_BASES else None
