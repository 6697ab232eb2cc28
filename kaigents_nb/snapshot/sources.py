"""Where the text of executed cells is: IPython's history and linecache, a script's file, a module's file.

Nothing is hooked: IPython keeps the text of every cell it executes, also of cells deleted from the notebook.
"""

from __future__ import annotations
import __future__

import ast
import dataclasses
import itertools
import linecache
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kaigents_nb.snapshot.cells import Cell, Cells, outline, parse, split_lines
from kaigents_nb.snapshot.live import function_in

FUTURE_FLAGS = sum(
    getattr(__future__, name).compiler_flag
    for name in __future__.all_feature_names
    if name not in ("nested_scopes", "generators", "with_statement")
)

# Magics that execute their text in the notebook's namespace.
_PYTHON_MAGICS = frozenset({"time", "capture", "prun", "debug", "memit", "mprun", "pyinstrument", "scalene"})
_UNNAMED = frozenset({"<timed exec>", "<timed eval>"})
_PROMPT = re.compile(r"<(?:stdin|python-input)>?-(\d+)>?")


def read_cells(namespace: Mapping[str, Any]) -> Cells:
    """Return everything that was executed in a namespace, as text.

    Parameters
    ----------
    namespace
        The globals of the agent: a notebook's, a script's or a module's.
    """
    shell = shell_of(namespace)
    cells = list(_of_shell(shell)) if shell is not None else list(_of_file(namespace))
    return Cells(_with_future_flags(cells))


def shell_of(namespace: Mapping[str, Any]) -> Any:
    """Return the running IPython shell when the namespace is its own, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if shell is not None and shell.user_ns is namespace else None


# --- IPython --------------------------------------------------------------------------------------------------------


def _of_shell(shell: Any) -> Iterator[Cell]:
    history = shell.history_manager
    filenames: dict[str, set[str]] = {}
    numbers: dict[str, int] = {}
    for filename, entry in _cached_lines():
        named = shell.compile.format_code_name(filename) if len(entry) == 4 else None
        if named is not None:
            filenames.setdefault("".join(entry[2]), set()).add(filename)
            numbers[filename] = int(re.sub(r"\D", "", named[1]) or 0)
    counts = itertools.count()
    seen = set()
    for number, text in enumerate(history.input_hist_parsed):
        raw = history.input_hist_raw[number] if number < len(history.input_hist_raw) else text
        key = "".join(line + "\n" for line in text.splitlines())  # as linecache has it
        seen.add(key)
        yield from _one(
            shell, f"In [{number}]", text, (number, 1, next(counts)), filenames.get(key, set()), _blank(raw)
        )
    for text, names in filenames.items():
        if text not in seen:  # executed without history: silently, or by another cell
            number = max(numbers[name] for name in names)
            yield from _one(shell, f"In [{number}]", text, (number, 0, next(counts)), names, 0)
    # Files executed in the notebook's own namespace, with %run -i.
    for name in _files_of_functions(shell.user_ns):
        if name not in numbers and (lines := linecache.getlines(name)):
            yield Cell(Path(name).name, "".join(lines), (-1, next(counts)), frozenset({name}))


def _one(shell: Any, label: str, text: str, order: tuple[int, ...], filenames: set[str], blank: int) -> Iterator[Cell]:
    """Yield a cell, and the Python inside its magics as cells of their own."""
    if not text.strip():
        return
    if not _is_python(text):
        text = shell.transform_cell(text)
    cell = Cell(label, text, order, frozenset(filenames), 1 + blank)
    yield cell
    if "run_cell_magic" not in text and "run_line_magic" not in text:
        return
    for position, call in enumerate(_magics(text)):
        function, arguments = call
        if function == "run_cell_magic" and len(arguments) == 3:
            body, above = arguments[2], 1 + blank
        elif function == "run_line_magic" and len(arguments) == 2:
            body, above = arguments[1], blank
        else:
            continue
        python = shell.transform_cell(body)
        if _is_python(python):
            names = _UNNAMED | {shell.compile.get_code_name(body, python, order[0])}
            yield Cell(label, python, (*order, position), names, 1 + above + _blank(body))


def _magics(text: str) -> Iterator[tuple[str, list[str]]]:
    for node in parse(text).body if _is_python(text) else ():
        value = node.value if isinstance(node, (ast.Expr, ast.Assign)) else None
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            arguments = [a.value for a in value.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            if arguments and arguments[0] in _PYTHON_MAGICS:
                yield value.func.attr, arguments


def _is_python(text: str) -> bool:
    try:
        parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _blank(raw: str) -> int:
    """Count the empty lines on top, which IPython drops before it compiles."""
    return next((i for i, line in enumerate(split_lines(raw)) if line.strip()), 0)


# --- files and prompts ----------------------------------------------------------------------------------------------


def _of_file(namespace: Mapping[str, Any]) -> Iterator[Cell]:
    filename = namespace.get("__file__")
    names = [filename] if isinstance(filename, str) else _files_of_functions(namespace)
    for name in names:
        if lines := linecache.getlines(name, dict(namespace)):
            known = {name, str(Path(name).absolute())}
            if namespace.get("__name__") == "__main__" and sys.argv:
                known.add(sys.argv[0])
            yield Cell(Path(name).name, "".join(lines), (-1,), frozenset(known))
    if namespace.get("__name__") == "__main__":
        # Python 3.13 and later keep what is typed at the prompt.
        for key, entry in _cached_lines():
            typed = _PROMPT.fullmatch(key)
            if typed and len(entry) == 4:
                number = int(typed[1])
                yield Cell(f">>> {number + 1}", "".join(entry[2]), (number,), frozenset({key}))


def _cached_lines() -> Iterator[tuple[str, Any]]:
    # A copy made in one go: other threads, and garbage that is collected meanwhile, change the cache.
    yield from linecache.cache.copy().items()


def _files_of_functions(namespace: Mapping[str, Any]) -> list[str]:
    """Return the files of a namespace's functions: after ``python -i script.py`` the script's name is gone."""
    functions = [function_in(value) for value in list(namespace.values()) if callable(value)]
    names = {f.__code__.co_filename for f in functions if f is not None and f.__globals__ is namespace}
    return sorted(name for name in names if not name.startswith("<"))


def _with_future_flags(cells: list[Cell]) -> Iterator[Cell]:
    """Give each cell the ``from __future__`` flags that it and the cells before it turned on."""
    flags = 0
    for cell in sorted(cells, key=lambda c: c.order):
        for leaf in outline(cell.text):
            if isinstance(leaf.node, ast.ImportFrom) and leaf.node.module == "__future__":
                for alias in leaf.node.names:
                    flags |= getattr(__future__, alias.name).compiler_flag & FUTURE_FLAGS
        yield dataclasses.replace(cell, flags=flags) if flags else cell
