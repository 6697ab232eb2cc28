"""Values that can't be saved: where they are, and what to do instead."""

from __future__ import annotations

import functools
import io
import types
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any

from kaigents_nb.values.class_names import MAIN, display_name
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX

PLAIN_DATA = "Return plain data (numbers, text, lists, dicts, dataclasses, DataFrames)"
_CODE = "Functions travel with the code of a run, not as values: return what the function gives or its name."
_RESOURCE = "make live objects such as clients and connections with @kg.resource"

_BY_LIBRARY = {
    "matplotlib": "Save the picture with fig.savefig(path) and return the path.",
    "seaborn": "Save the picture with .savefig(path) and return the path.",
    "plotly": "Return fig.to_dict(), or save it with fig.write_html(path) and return the path.",
    "altair": "Return chart.to_dict().",
    "PIL": "Save the image with .save(path) and return the path.",
    "sklearn": "Return its parameters (.get_params(), .coef_) or its predictions, or save it to a file "
    "(joblib.dump) and return the path.",
    "statsmodels": "Return .params or .summary().as_text(), or save it to a file and return the path.",
    "xgboost": "Return its predictions, or save it to a file (.save_model) and return the path.",
    "lightgbm": "Return its predictions, or save it to a file and return the path.",
    "torch": "Return .numpy(force=True) of a tensor; save a model to a file and return the path.",
    "tensorflow": "Return .numpy() of a tensor; save a model to a file and return the path.",
    "polars": "Return .to_pandas().",
    "pyarrow": "Return .to_pandas().",
    "scipy": "Return .toarray() of a sparse matrix, or its numbers as a dict.",
    "xarray": "Return .to_dataframe().",
    "bs4": "Return str(x) or the text that you need.",
    "pydantic": "Return str(x) or model.model_dump(); a secret is read in the step that uses it, and is not saved.",
    "requests": "Return response.json() or response.text.",
    "httpx": "Return response.json() or response.text.",
    "dateutil": "Use zoneinfo.ZoneInfo(name) for time zones, and timedelta for spans.",
}


class Refused(Exception):
    """A value somewhere inside can't be saved; containers add their step to the path on the way out."""

    def __init__(self, value: Any, advice: str = "") -> None:
        super().__init__(advice)
        self.type = display_name(type(value))
        self.advice = advice or advise(value)
        self.path: list[str] = []

    def message(self, name: str) -> str:
        """Return the whole message, the path starting at ``name``."""
        where = name + "".join(reversed(self.path))
        where = where if len(where) <= 300 else f"{where[:150]} … {where[-150:]}"
        return f"Can't save {where}, of type {self.type}. {self.advice}"


@contextmanager
def inside(step: str) -> Iterator[None]:
    """Add a step to the path of what is refused in the block."""
    try:
        yield
    except Refused as refusal:
        refusal.path.append(step)
        raise


def key_step(key: object) -> str:
    """Return ``['key']`` for a path."""
    try:
        text = repr(key)
    except Exception:  # noqa: BLE001 - the key's own code; the path still has to be told
        text = f"<{type(key).__name__}>"
    return f"[{text if len(text) <= 60 else text[:59] + '…'}]"


@functools.singledispatch
def advise(value: Any) -> str:
    """Return what to do about a value that can't be saved; a class may register what it knows better."""
    for kinds, advice in _BY_TYPE:
        if isinstance(value, kinds):
            return advice
    if "__wrapped__" in getattr(value, "__dict__", ()):
        return _CODE
    cls = type(value)
    library = (getattr(cls, "__module__", "") or "").partition(".")[0]
    if library in _BY_LIBRARY:
        return _BY_LIBRARY[library]
    bases = {(getattr(base, "__module__", "") or "").partition(".")[0] for base in cls.__mro__}
    if "sklearn" in bases:
        return _BY_LIBRARY["sklearn"]
    if bases & {"pandas", "numpy"}:
        return "Convert it first, for example with pd.DataFrame(x), x.to_numpy() or x.tolist()."
    if hasattr(cls, "__attrs_attrs__"):
        return f"Make {cls.__name__} a @dataclass, or return attrs.asdict(x)."
    if library == MAIN or cls.__module__.startswith(RUN_MODULE_PREFIX):
        return (
            f"If it is data, make {cls.__name__} a @dataclass or pydantic model, or return a dict; "
            f"if it is live, such as a client, make it with @kg.resource."
        )
    return f"{PLAIN_DATA}; {_RESOURCE}."


_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    functools.partial,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
)
_BY_TYPE: tuple[tuple[Any, str], ...] = (
    (_FUNCTIONS, _CODE),
    (types.ModuleType, f"{PLAIN_DATA} and import the module where it is used."),
    (type, "Return an instance, or the name of the class as text."),
    ((Awaitable, types.AsyncGeneratorType), "It was not awaited: write `await` before the call."),
    (
        (types.GeneratorType, map, filter, zip, enumerate, reversed),
        "It can be read only once: return list(x).",
    ),
    ((type({}.keys()), type({}.values()), type({}.items())), "It is a view of a dict: return list(x)."),
    (types.MappingProxyType, "Return dict(x)."),
    (memoryview, "Return bytes(x)."),
    (io.IOBase, "It is an open file: return its content or its path."),
    (BaseException, "Return str(error), or raise it."),
)
