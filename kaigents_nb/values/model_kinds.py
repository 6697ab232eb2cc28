"""The kind of pydantic models: their whole state, also one that no validator would let in (``model_construct()``)."""

from __future__ import annotations

from typing import Any

from kaigents_nb.errors import ConversionError
from kaigents_nb.values.class_names import is_pydantic_model
from kaigents_nb.values.kinds import Reader, Reading, Writer, Writing, tagged
from kaigents_nb.values.objects import attributes, fields_json, named_class, new_field, reference, set_attributes
from kaigents_nb.values.refusals import Refused
from kaigents_nb.values.standard_kinds import write_items
from kaigents_nb.values.type_forms import parametrized, read_form, write_class

_URLS = "pydantic.networks"


def write_model(value: Any, w: Writing) -> dict[str, Any]:
    """Return the tag of a model."""
    cls = type(value)
    held = value.__dict__
    fields = {name: held[name] for name in cls.model_fields if name in held}
    given = getattr(value, "__pydantic_fields_set__", None)
    if given is None:
        raise Refused(value, f"It was made without __init__; make it with {cls.__name__}.model_construct(…).")
    raw = tagged("model", fields_json(fields, w), c="", set=sorted(given), **attributes(value, w, but=fields))
    if cls.__pydantic_generic_metadata__["origin"] is None:
        raw["c"] = reference(value, w)
    else:
        raw["c"], raw["args"] = _generic_reference(value, w)
    # What lacks is told apart from what the class got since.
    missing = [name for name in cls.model_fields if name not in held]
    if missing:
        raw["missing"] = missing
    extra = getattr(value, "__pydantic_extra__", None)
    if extra:
        raw["extra"] = write_items(extra.items(), w)
    elif extra is None and _takes_extra(cls):
        raw["extra"] = None
    if cls.__private_attributes__:
        private = getattr(value, "__pydantic_private__", None)
        raw["private"] = None if private is None else fields_json(_set_ones(private), w)
        unset = [name for name in cls.__private_attributes__ if private is not None and name not in _set_ones(private)]
        if unset:
            raw["unset"] = unset
    return raw


def _generic_reference(value: Any, w: Writing) -> tuple[str, list[Any]]:
    try:
        form = write_class(type(value), w)
    except ConversionError as error:
        raise Refused(value, str(error)) from None
    return form["c"], form["args"]


def _read_model(raw: dict[str, Any], r: Reading) -> Any:
    cls = named_class(raw, r, is_pydantic_model)
    if "args" in raw:
        cls = parametrized(cls, tuple(read_form(form, r) for form in raw["args"]))
    saved, state = raw["v"], {}
    for name, field in cls.model_fields.items():
        if name in saved:
            state[name] = saved[name]
        elif name in raw.get("missing", ()):
            continue
        elif name not in raw["set"] and not field.is_required():
            state[name] = field.get_default(call_default_factory=True)
        else:
            raise new_field(cls, name)
    value = cls.__new__(cls)
    extra = raw.get("extra", () if _takes_extra(cls) else None)
    # What pydantic itself does for a copy; its own method, as the class might have another idea of it.
    base: Any = next(b for b in cls.__mro__ if b.__module__.startswith("pydantic.") and "__setstate__" in vars(b))
    base.__setstate__(
        value,
        {
            "__dict__": state,
            "__pydantic_fields_set__": set(raw["set"]) - (set(saved) - set(state)),
            "__pydantic_extra__": None if extra is None else dict(extra),
            "__pydantic_private__": _private(cls, raw),
        },
    )
    set_attributes(value, raw)
    return value


def url_writer_for(cls: type) -> Writer | None:
    """Return the writer for pydantic's own classes of URLs, or None."""
    return _write_url if cls.__module__ == _URLS and hasattr(cls, "host") else None


def _write_url(value: Any, w: Writing) -> dict[str, Any]:
    raw = tagged("url", str(value), c=type(value).__name__)
    try:
        again = _read_url(raw, w)
    except ValueError:
        again = None
    if again != value:
        raise Refused(value, "Return str(x).")
    return raw


def _read_url(raw: dict[str, Any], r: object) -> Any:
    cls = vars(__import__(_URLS, fromlist=["AnyUrl"])).get(raw["c"])
    if not isinstance(cls, type) or url_writer_for(cls) is None:
        raise ValueError(f"{raw['c']!r} is no class of URLs")
    made: Any = cls
    return made(raw["v"])


def _takes_extra(cls: Any) -> bool:
    return bool(cls.model_config.get("extra") == "allow")


def _set_ones(private: dict[str, Any]) -> dict[str, Any]:
    return {name: held for name, held in private.items() if type(held).__name__ != "PydanticUndefinedType"}


def _private(cls: Any, raw: dict[str, Any]) -> dict[str, Any] | None:
    saved = raw.get("private", {})
    if saved is None or not cls.__private_attributes__:
        return None
    unset = raw.get("unset", ())
    return _set_ones(
        {
            name: saved[name] if name in saved else attribute.get_default()
            for name, attribute in cls.__private_attributes__.items()
            if name not in unset
        }
    )


READERS: dict[str, Reader] = {"model": _read_model, "url": _read_url}
