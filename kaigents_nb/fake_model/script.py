"""What the scripted model answers: rules from a YAML file, or a Python function.

A YAML file is a list of rules; the first one that fits answers. A rule without conditions always fits::

    - when: "supplier"              # a pattern that the last message has
      after: search_suppliers       # the last message is this tool's output
      times: 1                      # only so often
      call: {search_suppliers: {product: solar panel}}     # or a list of such calls
    - say: "Supplier A, at 61.50 USD."
    - json: {supplier: A}           # says this as JSON
    - refuse: "I won't."
    - say: "It ends in the mid"
      finish: length                # or content_filter
    - fault: {status: 429, headers: {retry-after: "3"}, message: "slow down"}
    - fault: {drop: true}           # breaks the connection
    - say: "A long answer"
      breaks_after: 2               # breaks it after so many events of a stream
    - fault: {garbage: true}        # an answer that is no JSON
      delay_s: 2                    # of any rule; pace_s: between the events of a stream

A Python file has a function ``answer(request)``, which returns such a rule as a dict; ``request`` has ``last`` (text),
``items`` (the conversation), ``tools`` (names), ``schema``, ``body`` (as it came) and ``number``.
"""

from __future__ import annotations

import re
import runpy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

Rule: TypeAlias = dict[str, Any]
_ANSWERS = ("say", "call", "json", "refuse", "fault")
_KNOWN = frozenset(
    {"when", "after", "times", "finish", "delay_s", "usage", "reasoning", "breaks_after", "pace_s", *_ANSWERS}
)


@dataclass(frozen=True)
class Request:
    """One request as a script sees it."""

    number: int
    last: str
    after: str
    """The tool whose output is the last message; empty for none."""
    items: list[dict[str, Any]]
    tools: list[str]
    schema: dict[str, Any] | None
    body: dict[str, Any] = field(repr=False)


Script: TypeAlias = Callable[[Request], Rule]


def load(path: Path | None) -> Script:
    """Return the script of a file; without one, a model that repeats what it was told.

    Raises
    ------
    ValueError
        For a file that is no script; with file, rule and what is known.
    """
    if path is None:
        return lambda request: {"say": f"You said: {request.last}"}
    if path.suffix == ".py":
        answer = runpy.run_path(str(path)).get("answer")
        if not callable(answer):
            raise ValueError(
                f"{path} has no function answer(request). Write one that returns a dict such as {{'say': 'Hello'}}."
            )
        return lambda request: checked(answer(request), f"{path}: answer()")
    return Rules(_read(path), str(path))


class Rules:
    """Rules in order, each with how often it has answered."""

    def __init__(self, rules: Any, where: str) -> None:
        if not isinstance(rules, list) or not rules:
            raise ValueError(f"{where} is a list of rules, such as '- say: Hello', not {type(rules).__name__}.")
        self._rules = [checked(rule, f"{where}, rule {number}") for number, rule in enumerate(rules, 1)]
        self._answered = [0] * len(rules)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Rule:
        """Return the first rule that fits."""
        with self._lock:
            for number, rule in enumerate(self._rules):
                if self._answered[number] < rule.get("times", 1 << 60) and _fits(rule, request):
                    self._answered[number] += 1
                    return rule
        return {"fault": {"status": 501, "message": f"no rule of the script fits: {request.last[:200]!r}"}}


def checked(rule: Any, where: str) -> Rule:
    """Return a rule if it is one.

    Raises
    ------
    ValueError
        Else.
    """
    if not isinstance(rule, Mapping):
        raise ValueError(f"{where} is a rule such as {{'say': 'Hello'}}, not {rule!r}.")
    unknown = sorted(set(rule) - _KNOWN)
    if unknown:
        raise ValueError(f"{where} has {unknown}. Known: {sorted(_KNOWN)}.")
    if not any(key in rule for key in _ANSWERS):
        raise ValueError(f"{where} does not say what to answer: {', '.join(_ANSWERS)}.")
    return dict(rule)


def _fits(rule: Rule, request: Request) -> bool:
    if "after" in rule and rule["after"] != request.after:
        return False
    return "when" not in rule or re.search(str(rule["when"]), request.last, re.IGNORECASE) is not None


def _read(path: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise ImportError("A script in YAML needs PyYAML: pip install 'kaigents-nb[web]'.") from None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None
