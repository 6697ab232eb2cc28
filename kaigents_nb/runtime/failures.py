"""What an error does: pass with time (retried), wait for a person (parked), or reach the agent (raised).

What is retried here may still park: :mod:`repeats <kaigents_nb.runtime.repeats>`.

A failure crosses the server as Temporal's ``ApplicationError``; its first detail is a dict that says which of
the three it is and how to build the analyst's own exception again.
"""

from __future__ import annotations

import builtins
import functools
from datetime import timedelta
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.converter import DefaultFailureConverter, PayloadConverter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.exceptions import TimeoutError as TemporalTimeout

from kaigents_nb import errors
from kaigents_nb.authoring.options import Retry
from kaigents_nb.errors import (
    AnswerNotAccepted,
    ConversionError,
    Fatal,
    ForbiddenInStep,
    KaigentsError,
    ModelKeyMissing,
    NotRecorded,
    StepFailed,
)
from kaigents_nb.models.retry_after import header, retry_after_s
from kaigents_nb.values.brief import brief, without_middle
from kaigents_nb.values.class_names import type_name
from kaigents_nb.values.encoded import TypeResolver

PARK, RAISE, RETRY = "park", "raise", "retry"

_BUGS: tuple[type[BaseException], ...] = (
    TypeError, AttributeError, NameError, SyntaxError, ImportError, AssertionError, ConversionError, ForbiddenInStep,
    AnswerNotAccepted, ModelKeyMissing, NotRecorded,
)  # fmt: skip
"""No retry mends these."""

_REFUSALS = frozenset({400, 401, 403, 404, 422})
"""HTTP answers that stay the same however often one asks."""

TRACEBACK_LIMIT = 2_500
"""The server keeps 4 KiB of a pending step's last failure."""
_TEXT_LIMIT = 1_000
_ITEMS_LIMIT = 20
_BITS_LIMIT = 1_024


class LeanFailures(DefaultFailureConverter):
    """Failures without the SDK's stack trace: ours is among the details, in the analyst's lines.

    Besides, formatting one parses source in a background thread, which on Python 3.11 can break a parse that the
    notebook does at the same time.
    """

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert an exception; see the SDK."""
        super().to_failure(exception.with_traceback(None), payload_converter, failure)


class StepTraceback(Exception):
    """The traceback of the step, as the cause of the exception that the agent sees."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0])


StepTraceback.__module__ = "builtins"  # printed by its name alone, as a part of the analyst's traceback


def classify(error: BaseException, retry: Retry) -> str:
    """Return ``park``, ``raise`` or ``retry`` for an error of a step."""
    if isinstance(error, Fatal) or (retry.give_up_on and isinstance(error, retry.give_up_on)):
        return RAISE
    if is_half_imported(error):
        return RETRY
    if isinstance(error, _BUGS):
        return PARK
    asked_again = header(error, "x-should-retry")  # what the server itself says of it
    if asked_again in ("true", "false"):
        return RETRY if asked_again == "true" else PARK
    return PARK if http_status(error) in _REFUSALS else RETRY


def is_half_imported(error: BaseException) -> bool:
    """Whether a module was asked while another thread was still importing it: it is whole a moment later."""
    return isinstance(error, (ImportError, AttributeError)) and "partially initialized module" in _message(error)


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that openai, httpx, requests and their kin put on their errors."""
    for holder in (error, getattr(error, "response", None)):
        status = getattr(holder, "status_code", None)
        if isinstance(status, int):
            return status
    return None


def headline(failure: ApplicationError) -> str:
    """Return a failure in one line, as Python prints an exception."""
    return f"{failure.type}: {failure.message}" if failure.message else str(failure.type)


def clean(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return text that the server takes: no lone surrogates, bounded, its beginning and end kept."""
    return without_middle(text.encode("utf-8", "replace").decode(), limit)


def to_failure(error: BaseException, traceback: str, kind: str, limit: int = TRACEBACK_LIMIT) -> ApplicationError:
    """Return the wire form of an analyst's exception."""
    cls, wait_s = type(error), retry_after_s(error)
    try:
        module, qualname = type_name(cls)
    except ConversionError:
        module, qualname = cls.__module__, cls.__qualname__
    return ApplicationError(
        clean(_message(error)),
        {
            "do": kind,
            "class": [module, qualname],
            "base": next(base.__name__ for base in cls.__mro__ if base.__module__ == "builtins"),
            "args": [_argument(item) for item in _arguments(error)[:_ITEMS_LIMIT]],
            "attributes": {k: v for k, v in list(vars(error).items())[:_ITEMS_LIMIT] if _plain(v)},
            "traceback": clean(traceback, limit),
        },
        type=cls.__name__,
        non_retryable=kind != RETRY,
        next_retry_delay=timedelta(seconds=wait_s) if wait_s is not None and kind == RETRY else None,
        # The card shows it; the SDK need not log it into somebody's cell.
        category=ApplicationErrorCategory.BENIGN,
    )


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - an exception that can't say what it is
        return brief(error)


def _arguments(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, OSError) and error.filename is not None:
        # Python takes these three and shows two.
        return (error.errno, error.strerror, str(error.filename))
    return error.args


def details(failure: BaseException | None) -> dict[str, Any]:
    """Return what :func:`to_failure` recorded, or ``{}`` for a failure of another origin."""
    if isinstance(failure, ApplicationError) and failure.details and isinstance(failure.details[0], dict):
        return failure.details[0]
    return {}


def rebuild(failure: BaseException | None, resolve: TypeResolver) -> BaseException:
    """Return the analyst's own exception, with the step's traceback as its cause.

    An exception class that the agent's code does not know becomes a :class:`StepFailed` that is also what its class
    was derived from: ``except ValueError`` works for any ``ValueError``.
    """
    if isinstance(failure, TemporalTimeout):
        return TimeoutError(f"The step took too long ({failure.message}).")
    if not isinstance(failure, ApplicationError):
        return StepFailed(str(failure)) if failure is not None else StepFailed("The step failed.")
    known = details(failure)
    error: BaseException | None = None
    if known:
        module, qualname = known["class"]
        cls = _exception_class(module, qualname, resolve)
        if cls is not None:
            error = _instance(cls, tuple(known.get("args", ())), known.get("attributes", {}))
    if error is None:
        error = _stand_in(str(known.get("base", "")), failure.message)
    error.__cause__ = StepTraceback(known["traceback"]) if known.get("traceback") else failure
    return error


def _instance(cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException | None:
    """An exception with the recorded arguments; None where the class takes no part in that."""
    try:
        if cls.__module__ == "builtins":
            # Some keep more than their arguments: OSError its errno, ImportError its message.
            error = cls(*args)
        else:
            # Without __init__: it may want other arguments than those it passed on to Exception.
            error = cls.__new__(cls, *(args if issubclass(cls, OSError) else ()))
            error.args = args
        error.__dict__.update(attributes)
    except Exception:  # noqa: BLE001 - the analyst's own __new__, or a class such as ExceptionGroup
        return None
    return error


def _stand_in(base: str, message: str) -> StepFailed:
    known = getattr(builtins, base, None)
    for cls in known.__mro__ if isinstance(known, type) and issubclass(known, Exception) else ():
        if cls is Exception:
            break
        try:
            return _failed_as(cls)(message)
        except TypeError:
            continue  # ExceptionGroup, UnicodeDecodeError: want more than a message
    return StepFailed(message)


@functools.cache
def _failed_as(cls: type[Exception]) -> type[StepFailed]:
    return type(StepFailed.__name__, (StepFailed, cls), {"__module__": errors.__name__, "__str__": Exception.__str__})


def _exception_class(module: str, qualname: str, resolve: TypeResolver) -> type[BaseException] | None:
    if module == "builtins":
        cls = getattr(builtins, qualname, None)
    elif module == errors.__name__:
        cls = getattr(errors, qualname, None)
    else:
        try:
            cls = resolve(module, qualname)
        except (LookupError, KaigentsError):
            return None
    return cls if isinstance(cls, type) and issubclass(cls, Exception) else None


def _argument(item: object) -> object:
    """Return an exception's argument as it travels: a text keeps its lines, and a long one its beginning and end."""
    if _plain(item):
        return item
    return clean(item) if isinstance(item, str) else brief(item)


def _plain(item: object) -> bool:
    if isinstance(item, int):
        return item.bit_length() < _BITS_LIMIT
    if item is None or isinstance(item, float):
        return True
    return isinstance(item, str) and len(item) <= _TEXT_LIMIT and item.isprintable()
