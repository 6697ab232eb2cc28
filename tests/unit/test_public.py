"""What users can import: complete, documented, light; and every error of the SDK has an answer."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import temporalio.client
import temporalio.exceptions
import temporalio.service

import kaigents_nb as kg
from kaigents_nb import errors
from tests.support import ROOT

HEAVY = ["temporalio", "pandas", "pyarrow", "numpy", "ipywidgets", "openai", "pydantic", "IPython", "typer", "rich"]

MAPPED = {
    "RPCError",  # -> RunNotFound, HistoryGone, ServerNotReady
    "WorkflowFailureError",  # -> RunFailed with the agent's own exception, RunCancelled
    "WorkflowUpdateFailedError",  # -> AlreadyDecided, NoOpenGate
    "WorkflowUpdateRPCTimeoutOrCancelledError",  # no worker answers: the decision goes by signal
    "WorkflowAlreadyStartedError",  # an id whose run has ended -> ValueError
    "ActivityError",  # in the interpreter -> the step's own exception, or the run parks
    "AsyncActivityCancelledError",  # a late attempt is still wanted
    "ChildWorkflowError",  # in the interpreter -> the called agent's own exception
}
"""Errors that become one of ours, or are answered where they occur."""

PASSED_THROUGH = {
    "ActivityFailureError": "activities started by a client: not used",
    "NexusOperationFailureError": "Nexus: not used",
    "RPCTimeoutOrCancelledError": "our calls have no deadline of their own but updates, whose error is a subclass",
    "ScheduleAlreadyRunningError": "schedules: not used",
    "WorkflowContinuedAsNewError": "result() follows the chain, so the SDK never raises it here",
    "WorkflowQueryFailedError": "queries: not used",
    "WorkflowQueryRejectedError": "queries: not used",
}
"""Errors of the SDK's client that nothing of ours makes it raise."""


def in_new_process(code: str) -> str:
    """Run Python code in a process of its own and return what it printed."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def errors_of(module: object) -> set[str]:
    """Return the names of the public exception classes that a module of the SDK offers."""
    return {
        name
        for name, found in inspect.getmembers(module, inspect.isclass)
        if issubclass(found, BaseException) and found.__module__.startswith("temporalio")
    }


def caught() -> set[str]:
    """Return the names of all exception classes that some ``except`` of the package names."""

    def names(path: Path) -> Iterator[str]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and node.type is not None:
                yield from (part.id for part in ast.walk(node.type) if isinstance(part, ast.Name))

    return {name for path in (ROOT / "kaigents_nb").rglob("*.py") for name in names(path)}


def test_import_is_light() -> None:
    """Importing the package, and what cells are written with, imports none of the big libraries."""
    code = f"""
import sys
import kaigents_nb as kg
kg.step, kg.agent, kg.Retry, kg.approve, kg.ask, kg.choose, kg.sleep, kg.track, kg.resource, kg.Decision, kg.RunFailed
print([name for name in {HEAVY} if name in sys.modules])
"""
    assert in_new_process(code) == "[]"


def test_import_starts_nothing() -> None:
    """Importing every public name starts no thread and no process, and patches neither streams nor hooks."""
    code = """
import sys, threading
before = sys.stdout, sys.stderr, sys.excepthook, sys.breakpointhook
import kaigents_nb as kg
for name in kg.__all__:
    getattr(kg, name)
assert before == (sys.stdout, sys.stderr, sys.excepthook, sys.breakpointhook)
print(threading.active_count())
"""
    assert in_new_process(code) == "1"


def test_threads_may_use_the_library_first_at_the_same_time() -> None:
    """Each gets its name, or starts its agent as far as that goes, whichever room it enters first."""
    code = """
import sys, threading
import kaigents_nb as kg

@kg.agent
async def lost():
    return nowhere

def start():
    try:
        lost.start()
    except kg.KaigentsError:
        pass  # the SDK is there: only the agent can't travel

uses = [start, *((lambda name=name: getattr(kg, name)) for name in kg.__all__)]
together, errors = threading.Barrier(len(uses)), []

def use(first):
    together.wait()
    try:
        first()
    except BaseException as error:
        errors.append(error)

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=use, args=[first]) for first in uses]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(errors)
"""
    assert in_new_process(code) == "[]"


def test_all_is_complete_and_sorted() -> None:
    """``__all__`` has each name once, in order, and the type checker's imports are the same."""
    assert kg.__all__ == ["__version__", *sorted(set(kg.__all__) - {"__version__"})]
    tree = ast.parse(Path(inspect.getfile(kg)).read_text())
    [for_types] = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        (alias.asname or alias.name).removeprefix("_"): f"{node.module}.{alias.name}"
        for node in for_types.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("kaigents_nb.")
        for alias in node.names
    }
    # For a type checker these say what `start()` gives.
    imported |= {
        node.name: f"kaigents_nb.authoring.agent.{node.name}"
        for node in for_types.body
        if isinstance(node, ast.FunctionDef)
    }
    assert {*imported, "__version__"} == set(kg.__all__)
    homes = {name: f"kaigents_nb.{home}.{name}" for name, home in kg._HOMES.items()}
    assert imported == homes


@pytest.mark.parametrize("name", kg.__all__)
def test_public_names_resolve_and_are_documented(name: str) -> None:
    """Each public name is there, and its docstring begins with a sentence."""
    found = getattr(kg, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+\w*", found)
        return
    first = (inspect.getdoc(found) or "").partition("\n\n")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z].+\.", first), first


@pytest.mark.parametrize("kind", [kg.Agent, kg.Connection, kg.Moment, kg.Run, kg.Step], ids=lambda kind: kind.__name__)
def test_public_methods_are_documented(kind: type) -> None:
    """Each method and property that tab completion offers says what it is for."""
    for name, member in inspect.getmembers(kind):
        if not name.startswith("_") and (callable(member) or isinstance(member, property)):
            first = (inspect.getdoc(member) or "").partition("\n\n")[0]
            assert first.endswith("."), f"{kind.__name__}.{name}"


def test_tab_completion_offers_the_public_names() -> None:
    """``dir(kg)`` has every public name before any was used, and none of the rooms."""
    code = "import kaigents_nb as kg; print(dir(kg) == sorted(kg.__all__))"
    assert in_new_process(code) == "True"


def test_an_unknown_name_is_an_attribute_error() -> None:
    """A name that is not there is Python's own error, so that hasattr and from-imports work."""
    with pytest.raises(AttributeError, match="module 'kaigents_nb' has no attribute 'stepp'"):
        kg.stepp
    with pytest.raises(ImportError, match="stepp"):
        from kaigents_nb import stepp  # noqa: F401


def test_errors_are_drawn_as_they_are() -> None:
    """The tree at the top of errors.py has exactly the classes below it, each under its base."""
    drawn: dict[str, str] = {}
    parents = ["Exception"]
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"^    (?P<rails>[│├└─ ]*)(?P<name>[A-Z]\w+)", line):
            depth = len(found["rails"]) // 4
            del parents[depth + 1 :]
            drawn[found["name"]] = parents[-1]
            parents.append(found["name"])
    defined = {
        name: found.__bases__[0].__name__
        for name, found in vars(errors).items()
        if isinstance(found, type) and found.__module__ == errors.__name__
    }
    assert drawn == defined


def test_each_error_is_one_sentence() -> None:
    """Each error class says in one sentence what it means."""
    for name, found in inspect.getmembers(errors, inspect.isclass):
        if issubclass(found, errors.KaigentsError):
            assert re.fullmatch(r"[^\n]+\.", found.__doc__ or ""), name


def test_every_client_error_of_the_sdk_has_an_answer() -> None:
    """Each public error of the SDK's client is mapped, or known never to come from a call of ours."""
    public = errors_of(temporalio.client) | errors_of(temporalio.service)
    assert public <= MAPPED | PASSED_THROUGH.keys()
    assert not MAPPED & PASSED_THROUGH.keys()
    assert MAPPED | PASSED_THROUGH.keys() <= public | errors_of(temporalio.exceptions)


def test_mapped_errors_are_caught() -> None:
    """Each error that is called mapped is named in some ``except``, and no other one of the client is."""
    names = caught()
    assert names >= MAPPED
    assert not names & PASSED_THROUGH.keys()


def test_imports_go_down_the_house() -> None:
    """The rooms import each other in one direction only."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_import_in_a_function_is_a_door_or_a_heavy_one() -> None:
    """A room names an upper one only at a door that pyproject.toml lists; what only asks for help loads little."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [house] = settings["tool"]["importlinter"]["contracts"]
    doors = set(house["ignore_imports"])
    found = set()
    for path in (ROOT / "kaigents_nb").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                    modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                    found |= {f"{module} -> {name}" for name in modules if name.startswith("kaigents_nb")}
    lazy = {"kaigents_nb.authoring.agent -> kaigents_nb.authoring.dry_run"}  # asyncio, for whom only writes an agent
    faces = {
        edge for edge in found if edge.startswith(("kaigents_nb.cli.", "kaigents_nb.demo.", "kaigents_nb.fake_model."))
    }
    assert found - faces - lazy == doors
