"""Settings of this process that its code relies on: carried where they belong to a task, else told at the start.

How decimal computes and what numpy does with a division by zero are set for a task, so a worker can set them for each
step and agent without disturbing others. All else (seeds, options, filters, environment) belongs to a whole process: a
worker is another one, and says nothing of it by itself. What cells have set is found in their text.
"""

from __future__ import annotations

import ast
import decimal
import functools
import logging
import sys
from abc import ABCMeta
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from kaigents_nb.authoring.agent import Agent
from kaigents_nb.authoring.step import Step
from kaigents_nb.snapshot.cells import DEFINITIONS, Cell, Cells, Statement, dotted, imported_names, parse
from kaigents_nb.snapshot.live import follow, in_module
from kaigents_nb.snapshot.packages import is_local

_DECIMAL = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_NUMPY_WITH_CONTEXT = 2
"""The first version of numpy that keeps its error handling for each task."""
_SHOWN = 4


# --- carried --------------------------------------------------------------------------------------------------------


def carried_settings() -> dict[str, Any]:
    """Return how decimal and numpy are set for this task, where it is not as it is by default."""
    found: dict[str, Any] = {}
    context, default = decimal.getcontext(), decimal.Context()
    if _of(context) != _of(default):
        found["decimal"] = _of(context)
    numpy = sys.modules.get("numpy")
    if numpy is not None and _major(numpy) >= _NUMPY_WITH_CONTEXT:
        errors = dict(numpy.geterr())
        if errors != _numpy_default(numpy):
            found["numpy_errors"] = errors
    return found


def apply_settings(settings: Mapping[str, Any]) -> None:
    """Set, for the current task and what it starts, what was carried."""
    known = settings.get("decimal")
    if known is not None:
        context = decimal.Context(**{name: known[name] for name in _DECIMAL})
        for signal in context.traps:
            context.traps[signal] = signal.__name__ in known["traps"]
        decimal.setcontext(context)
    if "numpy_errors" in settings:
        import numpy

        numpy.seterr(**settings["numpy_errors"])


def _of(context: decimal.Context) -> dict[str, Any]:
    traps = sorted(signal.__name__ for signal, on in context.traps.items() if on)
    return {**{name: getattr(context, name) for name in _DECIMAL}, "traps": traps}


def _numpy_default(numpy: Any) -> dict[str, str]:
    # As numpy documents it; there is no way to ask.
    return {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def _major(module: ModuleType) -> int:
    return int(str(getattr(module, "__version__", "0")).partition(".")[0] or 0)


# --- told -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kind:
    what: str
    """What is set, after "sets"."""
    advice: str
    everywhere: bool = True
    """It concerns all code; else only code that uses the library, or another one which may."""


_SEED = _Kind(
    "the chance of this process", "Seed in the step that draws, or give it a generator made from a seed.", False
)
_WARNINGS = _Kind("what this process does with warnings", "Do it in the step: with warnings.catch_warnings(): …")
_PANDAS = _Kind("pandas' options in this process", "Do it in the step: with pd.option_context(…): …", everywhere=False)
_PLOTS = _Kind(
    "matplotlib's defaults in this process", "Do it in the step: with plt.rc_context({…}): …", everywhere=False
)
_ENVIRONMENT = _Kind(
    "the environment of this process",
    "Start workers with it in their environment, or set it in the step; a secret is read there, and never sent along.",
)
_DIRECTORY = _Kind("the working directory of this process", "Give steps an absolute path.")
_LOGGING = _Kind("the logging of this process", "Do it in the step, or print there: what steps print is on the card.")
_PROCESS = _Kind("something of this process", "Do it in the step.")
_MODULE = _Kind(
    "something in a module of this process", "Do it in the step, or pass it to what uses it.", everywhere=False
)

_CALLS: dict[str, _Kind] = {
    **dict.fromkeys(
        [
            "random.seed",
            "random.setstate",
            "numpy.random.seed",
            "numpy.random.set_state",
            "torch.manual_seed",
            "torch.cuda.manual_seed",
            "torch.cuda.manual_seed_all",
            "tensorflow.random.set_seed",
            "tensorflow.keras.utils.set_random_seed",
            "keras.utils.set_random_seed",
            "transformers.set_seed",
            "lightning.seed_everything",
            "pytorch_lightning.seed_everything",
        ],
        _SEED,
    ),
    **dict.fromkeys(["warnings.filterwarnings", "warnings.simplefilter", "warnings.resetwarnings"], _WARNINGS),
    **dict.fromkeys(["pandas.set_option", "pandas.reset_option", "pandas.set_eng_float_format"], _PANDAS),
    **dict.fromkeys(
        [
            "matplotlib.rc",
            "matplotlib.pyplot.rc",
            "matplotlib.use",
            "matplotlib.rcParams.update",
            "matplotlib.pyplot.rcParams.update",
            "matplotlib.style.use",
            "matplotlib.pyplot.style.use",
            "seaborn.set",
            "seaborn.set_theme",
            "seaborn.set_style",
            "seaborn.set_context",
            "seaborn.set_palette",
        ],
        _PLOTS,
    ),
    **dict.fromkeys(
        [
            "os.environ.update",
            "os.environ.setdefault",
            "os.environ.pop",
            "os.putenv",
            "os.unsetenv",
            "time.tzset",
            "dotenv.load_dotenv",
        ],
        _ENVIRONMENT,
    ),
    "os.chdir": _DIRECTORY,
    **dict.fromkeys(
        [
            "logging.basicConfig",
            "logging.disable",
            "logging.config.dictConfig",
            "logging.config.fileConfig",
            "logging.captureWarnings",
        ],
        _LOGGING,
    ),
    **dict.fromkeys(
        [
            "locale.setlocale",
            "socket.setdefaulttimeout",
            "sys.setrecursionlimit",
            "sys.set_int_max_str_digits",
            "signal.signal",
            "os.umask",
            "gc.disable",
            "atexit.register",
            "codecs.register",
            "copyreg.pickle",
            "multiprocessing.set_start_method",
            "mimetypes.add_type",
        ],
        _PROCESS,
    ),
    **dict.fromkeys(
        [
            "numpy.set_printoptions",
            "sklearn.set_config",
            "xarray.set_options",
            "torch.set_default_dtype",
            "torch.set_num_threads",
            "torch.set_default_device",
            "torch.set_grad_enabled",
            "tqdm.pandas",
            "tqdm.auto.tqdm.pandas",
            "tqdm.tqdm.pandas",
            "tqdm.notebook.tqdm.pandas",
            "polars.Config.set_tbl_rows",
        ],
        _MODULE,
    ),
}
_TARGETS: dict[str, _Kind] = {
    "os.environ": _ENVIRONMENT,
    "matplotlib.rcParams": _PLOTS,
    "matplotlib.pyplot.rcParams": _PLOTS,
    "pandas.options": _PANDAS,
}
_MAGICS = {"env": _ENVIRONMENT, "set_env": _ENVIRONMENT, "cd": _DIRECTORY}
_LOGGER_CALLS = frozenset({"setLevel", "addHandler", "removeHandler", "addFilter"})
_WITHOUT_IMPORT = _LOGGER_CALLS | {"run_line_magic"}
"""Methods that set something, also of what was not imported."""
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_FOR_A_WHILE = frozenset({"catch_warnings", "errstate", "localcontext", "option_context", "rc_context", "context"})
"""Contexts that undo, at their end, what is set in them."""
_OURS = ("KAIGENTS_", "TEMPORAL_")
"""Environment that says which server and worker to use: a worker has its own."""


@dataclass(frozen=True)
class _Found:
    kind: _Kind
    text: str
    """As it is written, without values: they may be secrets."""
    module: str
    place: str


def told_settings(
    cells: Cells, namespace: Mapping[str, Any], taken: Collection[Statement], modules: Collection[str]
) -> Iterator[str]:
    """Yield sentences on what cells have set in this process, which no worker has by itself.

    Parameters
    ----------
    cells, namespace
        All that was executed.
    taken
        The definitions that travel: what they set, they set where they are called.
    modules
        What the code imports. A library's setting is told only where that library, or another, is used.
    """
    tops = {module.partition(".")[0] for module in modules} - {"kaigents_nb"}
    libraries = tops - sys.stdlib_module_names
    carried = {id(statement.node) for statement in taken}
    by_kind: dict[_Kind, list[_Found]] = {}
    for found in _Reader(cells, namespace, carried).found():
        if found.kind.everywhere or found.module.partition(".")[0] in tops or libraries:
            by_kind.setdefault(found.kind, []).append(found)
    for kind, several in by_kind.items():
        texts = list(dict.fromkeys(f"{found.text} ({found.place})" for found in several))
        more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        verb = "sets" if len(texts) == 1 else "set"
        yield f"{', '.join(texts[:_SHOWN])}{more} {verb} {kind.what}, which a worker does not have. {kind.advice}"


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A call or a target of an assignment that may set something."""

    node: ast.expr
    imported: str
    """The name that has to be imported for that; empty when it may be so without."""
    within: tuple[_Definition, ...]
    """The definitions in which it stands, the outermost first."""


@dataclass(frozen=True, eq=False)
class _Text:
    """What the text of a cell alone tells; it is looked at once, as a notebook is frozen at every start."""

    imports: tuple[tuple[str, str], ...] = ()
    called: frozenset[str] = frozenset()
    candidates: tuple[_Candidate, ...] = ()


@functools.lru_cache(maxsize=4096)
def _text(text: str) -> _Text:
    try:
        tree = parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return _Text()  # it was never executed
    called: set[str] = set()
    candidates: list[_Candidate] = []
    stack: list[tuple[ast.AST, tuple[_Definition, ...] | None]] = [(tree, ())]
    while stack:
        node, within = stack.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            called.add(node.func.id)
        if isinstance(node, (ast.With, ast.AsyncWith)) and _is_for_a_while(node):
            within = None
        if within is not None:
            candidates += [_Candidate(part, imported, within) for part, imported in _sets(node)]
            within = (*within, node) if isinstance(node, DEFINITIONS) else within
        stack += [(child, within) for child in reversed(list(ast.iter_child_nodes(node)))]
    return _Text(tuple(imported_names(tree)), frozenset(called), tuple(candidates))


def _is_for_a_while(node: ast.With | ast.AsyncWith) -> bool:
    contexts = [item.context_expr for item in node.items]
    called = [dotted(c.func)[-1:] for c in contexts if isinstance(c, ast.Call)]
    return any(name[0] in _FOR_A_WHILE for name in called if name)


def _sets(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Yield what in a node may set something, each with the name that has to be imported for that."""
    if isinstance(node, ast.Call):
        parts = dotted(node.func)
        if isinstance(node.func, ast.Attribute) and node.func.attr in _WITHOUT_IMPORT:
            yield node, ""
        elif parts:
            yield node, parts[0]
    elif isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.Delete)):
        for target in node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [node.target]:
            parts = dotted(target.value) if isinstance(target, ast.Subscript) else dotted(target)[:-1]
            if parts:
                yield target, parts[0]


class _Reader:
    def __init__(self, cells: Cells, namespace: Mapping[str, Any], carried: set[int]) -> None:
        self._namespace = namespace
        self._carried = carried
        self._texts = [(cell, _text(cell.text)) for cell in cells]
        self._imports = {name: target for _, text in self._texts for name, target in text.imports}
        self._called = frozenset().union(*(text.called for _, text in self._texts))

    def found(self) -> Iterator[_Found]:
        for cell, text in self._texts:
            for candidate in text.candidates:
                if candidate.imported and candidate.imported not in self._imports:
                    continue
                if all(id(node) not in self._carried and self._was_called(node) for node in candidate.within):
                    node = candidate.node
                    yield from self._call(cell, node) if isinstance(node, ast.Call) else self._target(cell, node)

    def _was_called(self, node: _Definition) -> bool:
        if isinstance(node, ast.ClassDef):
            return node.name in self._called
        return node.name in self._called and not isinstance(self._namespace.get(node.name), (Step, Agent))

    def _name(self, node: ast.expr) -> str:
        parts = dotted(node)
        if not parts or parts[0] not in self._imports:
            return ""
        return ".".join([self._imports[parts[0]], *parts[1:]])

    def _call(self, cell: Cell, node: ast.Call) -> Iterator[_Found]:
        name = self._name(node.func)
        constants = [a.value if isinstance(a, ast.Constant) else None for a in node.args]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "run_line_magic" and len(constants) == 2:
            magic, rest = str(constants[0]), str(constants[1])
            if magic in _MAGICS and rest.strip() and not rest.startswith(_OURS):
                shown = f"%{magic} {rest.replace('=', ' ').split()[0]}"
                yield self._at(cell, node, _MAGICS[magic], shown, "")
            return
        if kind := _CALLS.get(name):
            if kind is _ENVIRONMENT and constants and str(constants[0]).startswith(_OURS):
                return
            inside = repr(constants[0]) if kind is _ENVIRONMENT and constants and constants[0] is not None else "…"
            yield self._at(cell, node, kind, f"{ast.unparse(node.func)}({inside})", name)
        elif name and "register" in name.rpartition(".")[2] and not self._is_abstract(name):
            yield self._at(cell, node, _PROCESS, f"{ast.unparse(node.func)}(…)", name)
        elif isinstance(node.func, ast.Attribute) and node.func.attr in _LOGGER_CALLS:
            parts = dotted(node.func.value)
            logger = self._namespace.get(parts[0]) if len(parts) == 1 else None
            of_root = isinstance(node.func.value, ast.Call) and self._name(node.func.value.func) == "logging.getLogger"
            if isinstance(logger, logging.Logger) or of_root:
                yield self._at(cell, node, _LOGGING, f"{ast.unparse(node.func)}(…)", "logging")

    def _is_abstract(self, name: str) -> bool:
        """Tell whether it is ``register`` of an abstract class, which is carried."""
        module, _, owner = name.rpartition(".")[0].rpartition(".")
        return isinstance(in_module(module, owner), ABCMeta)

    def _target(self, cell: Cell, target: ast.expr) -> Iterator[_Found]:
        inner, key = target, ""
        if isinstance(inner, ast.Subscript):
            key = str(inner.slice.value) if isinstance(inner.slice, ast.Constant) else ""
            inner = inner.value
        name = self._name(inner)
        if not name or (inner is target and not isinstance(target, ast.Attribute)):
            return
        kind = next((k for prefix, k in _TARGETS.items() if name == prefix or name.startswith(f"{prefix}.")), None)
        if kind is _ENVIRONMENT and key.startswith(_OURS):
            return
        if kind is None:
            parts = name.split(".")
            owner = follow(sys.modules.get(parts[0]), parts[1:-1] if inner is target else parts[1:])
            module = owner.__name__ if isinstance(owner, ModuleType) else getattr(owner, "__module__", "")
            if owner is None or module in ("", "__main__", self._namespace.get("__name__")):
                return
            if is_local(module.partition(".")[0]):
                return  # its state is carried
            kind = _MODULE
        yield self._at(cell, target, kind, ast.unparse(target), name)

    def _at(self, cell: Cell, node: ast.expr, kind: _Kind, text: str, module: str) -> _Found:
        return _Found(kind, text, module, f"{cell.label}, line {node.lineno + cell.first_line - 1}")
