"""The packages behind imported modules, and their versions."""

from __future__ import annotations

import functools
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

LOCAL = "local"
"""Instead of a version: a file of the analyst's own, beside the notebook."""


def packages_of(modules: Iterable[str]) -> dict[str, str]:
    """Return the version of each distribution behind some modules, ``"local"`` for files of one's own.

    Modules of the standard library, and those that are not installed, are left out.
    """
    found: dict[str, str] = {}
    for top in sorted({module.partition(".")[0] for module in modules}):
        if top and top not in sys.stdlib_module_names and top != "__main__":
            found.update(_package(top))
    return found


@functools.lru_cache(maxsize=1024)
def _package(top: str) -> dict[str, str]:
    module = sys.modules.get(top)
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    for name in (top, top.replace("_", "-")):
        try:
            distribution = importlib.metadata.distribution(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        return {distribution.name: distribution.version}
    if module is not None and file is not None and not _is_installed(Path(file)):
        return {top: LOCAL}
    names = _distributions().get(top, ())
    return {name: importlib.metadata.version(name) for name in names}


def _is_installed(file: Path) -> bool:
    roots = {sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")}
    return any(file.is_relative_to(root) for root in roots if root) or "site-packages" in file.parts


@functools.cache
def _distributions() -> dict[str, list[str]]:
    return {top: sorted(set(names)) for top, names in importlib.metadata.packages_distributions().items()}


@functools.lru_cache(maxsize=1024)
def comes_with(top: str, tops: frozenset[str]) -> bool:
    """Tell whether an installed package is one that others require, directly or through more."""
    wanted = {_canonical(name) for name in _distributions().get(top, ())}
    stack = [_canonical(name) for other in tops for name in _distributions().get(other, ())]
    seen: set[str] = set()
    while stack:
        name = stack.pop()
        if name in wanted:
            return True
        if name not in seen:
            seen.add(name)
            stack += _required(name)
    return False


@functools.cache
def _required(name: str) -> tuple[str, ...]:
    try:
        lines = importlib.metadata.requires(name) or ()
    except importlib.metadata.PackageNotFoundError:
        return ()
    return tuple(_canonical(found[0]) for line in lines if (found := re.match(r"[\w.-]+", line)))


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_version(name: str) -> str | None:
    """Return the installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
