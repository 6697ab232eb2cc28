"""Which model answers: a plain value that travels with the code and knows its key by reference only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kaigents_nb.errors import ModelKeyMissing

Api = Literal["responses", "chat"]
_APIS = ("responses", "chat")
_OPENAI_HOST = "api.openai.com"
NO_KEY = "none"
"""What a server on this machine is sent that wants no key."""


@dataclass(frozen=True)
class Model:
    """A model as :func:`model` makes it; a value, equal to another with the same fields."""

    name: str
    base_url: str | None = None
    api_key: str | None = None
    requests_per_min: float | None = None
    tokens_per_min: float | None = None
    price: Mapping[str, float] = field(default_factory=dict, hash=False)
    api: Api | None = None

    @property
    def address(self) -> str:
        """Where it is asked; without ``base_url`` what ``OPENAI_BASE_URL`` of the asking process says, else OpenAI."""
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or f"https://{_OPENAI_HOST}/v1"

    @property
    def speaks(self) -> Api:
        """The API it is asked with: as given, else Responses at OpenAI and Chat Completions elsewhere."""
        return self.api or ("responses" if urlsplit(self.address).hostname == _OPENAI_HOST else "chat")

    def key(self) -> str:
        """Return the key itself, looked up here and now.

        Raises
        ------
        ModelKeyMissing
            When the reference leads nowhere in this process, or to what is no key.
        """
        key = _looked_up(self)
        if not (key.isascii() and key.isprintable()):
            raise ModelKeyMissing(
                f"What {self.api_key or 'env:OPENAI_API_KEY'!r} leads to is no key of the model {self.name!r}: it has "
                "line breaks or letters that no HTTP header takes. Put the key there, then run.retry_now()."
            )
        return key


def model(
    name: str,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    requests_per_min: float | None = None,
    tokens_per_min: float | None = None,
    price: Mapping[str, float] | None = None,
    api: Api | None = None,
) -> Model:
    """Describe a model that :func:`kaigents_nb.chat` can ask.

    A plain name given to ``chat`` is the same as ``model(name)``.

    Parameters
    ----------
    name
        As the provider calls it.
    base_url
        Of any server that speaks OpenAI's protocol; without, ``OPENAI_BASE_URL`` of the worker, else OpenAI.
    api_key
        Where the key is, never the key: ``"env:NAME"``, ``"keyring:NAME"`` (service ``kaigents-nb``) or
        ``"file:PATH"``, looked up by the worker at each call. Without, ``OPENAI_API_KEY`` of the worker.
    requests_per_min, tokens_per_min
        Limits that hold over all runs of a worker and, best effort, over all workers with the same data directory.
    price
        USD for a million tokens: ``{"input": 0.25, "output": 2.0}``, also ``"cached"``. Without, the published price
        where it is known.
    api
        ``"responses"`` or ``"chat"``; without, Responses at OpenAI and Chat Completions elsewhere.

    Raises
    ------
    ValueError
        For a key in place of a reference, an unknown API, or a limit or price that is not positive.

    Examples
    --------
    >>> model("gpt-5", api_key="env:OPENAI_API_KEY").speaks
    'responses'
    >>> model("qwen3", base_url="http://127.0.0.1:11434/v1").speaks
    'chat'
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"A model has a name, such as 'gpt-5', not {name!r}.")
    if api_key is not None and api_key.partition(":")[0] not in _SOURCES:
        # Without the value: it may be the key.
        raise ValueError(
            "api_key says where the key is, so that it is in no history and no notebook: 'env:NAME', 'keyring:NAME' or "
            "'file:PATH'."
        )
    if api is not None and api not in _APIS:
        raise ValueError(f"No API {api!r}. Known: {', '.join(map(repr, _APIS))}.")
    if base_url is not None and urlsplit(base_url).scheme not in ("http", "https"):
        raise ValueError(f"base_url is an address such as 'http://127.0.0.1:8000/v1', not {base_url!r}.")
    for what, limit in (("requests_per_min", requests_per_min), ("tokens_per_min", tokens_per_min)):
        if limit is not None and not limit > 0:
            raise ValueError(f"{what} is more than 0, or None for no limit, not {limit!r}.")
    prices = dict(price or {})
    unknown = sorted(set(prices) - _PRICED)
    if unknown or not all(isinstance(usd, int | float) and usd >= 0 for usd in prices.values()):
        raise ValueError(
            f"price is USD for a million tokens, such as {{'input': 0.25, 'output': 2.0}}, not {price!r}. "
            f"Known: {', '.join(sorted(_PRICED))}."
        )
    return Model(name, base_url, api_key, requests_per_min, tokens_per_min, prices, api)


def as_model(given: Model | str) -> Model:
    """Return a model from what ``chat`` was given."""
    if isinstance(given, Model):
        return given
    if isinstance(given, str):
        return model(given)
    raise TypeError(f"model is a name or kg.model(…), not {given!r}.")


_PRICED = frozenset({"input", "output", "cached"})


def _looked_up(asked: Model) -> str:
    if asked.api_key is None:
        key = os.environ.get("OPENAI_API_KEY")
        if key is None and asked.base_url is not None and urlsplit(asked.base_url).hostname in _THIS_MACHINE:
            return NO_KEY
        if not key:
            raise ModelKeyMissing(
                f"The model {asked.name!r} has no key: the environment of this worker has no OPENAI_API_KEY. Set it "
                "before the worker starts, or say where the key is: "
                f"kg.model({asked.name!r}, api_key='env:NAME' | 'keyring:NAME' | 'file:PATH')."
            )
        return key
    source, _, where = asked.api_key.partition(":")
    key = _SOURCES[source](where)
    if not key:
        raise ModelKeyMissing(
            f"The model {asked.name!r} has no key: {asked.api_key!r} is empty or not there for this worker. "
            "Put the key there, then run.retry_now()."
        )
    return key


def _from_file(path: str) -> str | None:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _from_keyring(name: str) -> str | None:
    try:
        import keyring
    except ImportError:
        raise ModelKeyMissing(
            f"The key 'keyring:{name}' needs the package keyring: pip install keyring, then run.retry_now()."
        ) from None
    found: str | None = keyring.get_password("kaigents-nb", name)
    return found


_SOURCES: dict[str, Callable[[str], str | None]] = {
    "env": os.environ.get,
    "keyring": _from_keyring,
    "file": _from_file,
}
_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
