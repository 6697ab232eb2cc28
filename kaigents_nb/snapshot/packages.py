"""The packages behind imported modules, and their versions."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.metadata
import json
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

LOCAL = "local"
"""Instead of a version: a file of the analyst's own, beside the notebook."""
_INSTALLED_IN = frozenset({"site-packages", "dist-packages"})
_NEVER_LOCAL = frozenset({"__main__", "kaigents_nb"})


def packages_of(modules: Iterable[str]) -> dict[str, str]:
    """Return the version of each distribution behind some modules, ``"local"`` for files of one's own.

    Modules of the standard library, and those that are not installed, are left out.
    """
    found: dict[str, str] = {}
    for top in sorted({module.partition(".")[0] for module in modules}):
        if top and top not in sys.stdlib_module_names and top != "__main__":
            found.update(_package(top))
    return found


def distributions_of(modules: Iterable[str], loaded: Iterable[str]) -> dict[str, str]:
    """Return the distribution behind each module that is installed, where its name or its being there is news.

    Parameters
    ----------
    modules
        Names of modules.
    loaded
        Those of them that are known to be there.
    """
    known = {module.partition(".")[0] for module in loaded}
    found: dict[str, str] = {}
    for top in sorted({module.partition(".")[0] for module in modules} - _NEVER_LOCAL - sys.stdlib_module_names):
        if top and not is_local(top) and _file_of(top) is not None:
            names = _distributions().get(top, [top])
            name = next((n for n in names if n.replace("-", "_").lower() == top.lower()), names[0])
            if (name != top and name.replace("-", "_").lower() != top.lower()) or top not in known:
                found[top] = name
    return found


def is_local(top: str) -> bool:
    """Tell whether a module (not inside a package) is a file of the analyst's own, which is not installed."""
    if not top or top in _NEVER_LOCAL or top in sys.stdlib_module_names:
        return False
    file = _file_of(top)
    return file is not None and not _is_installed(file) and not _is_editable(top)


def _package(top: str) -> dict[str, str]:
    if is_local(top):
        return {top: LOCAL}
    # What is loaded stays as it is; what is not may be installed at any time.
    return _versions(top) if top in sys.modules else _versions.__wrapped__(top)


@functools.lru_cache(maxsize=1024)
def _versions(top: str) -> dict[str, str]:
    for name in (top, top.replace("_", "-")):
        try:
            distribution = importlib.metadata.distribution(name)
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        return {distribution.name: distribution.version}
    names = _distributions().get(top, ())
    return {name: importlib.metadata.version(name) for name in names}


def _file_of(top: str) -> Path | None:
    """Return a module's file, or a package's folder; None for what is built in or not there."""
    module = sys.modules.get(top)
    spec = module.__spec__ if module is not None else importlib.machinery.PathFinder.find_spec(top)
    if spec is None:
        return None
    if spec.origin is not None and spec.has_location:
        return Path(spec.origin)
    return next(map(Path, spec.submodule_search_locations or ()), None)


def _is_installed(file: Path) -> bool:
    return any(file.is_relative_to(root) for root in _roots()) or not _INSTALLED_IN.isdisjoint(file.parts)


@functools.cache
def _roots() -> frozenset[str]:
    return frozenset(filter(None, map(sysconfig.get_path, ("purelib", "platlib", "stdlib", "platstdlib"))))


@functools.lru_cache(maxsize=1024)
def _is_editable(top: str) -> bool:
    """Tell whether a module belongs to a distribution that was installed to be edited."""
    for name in (top, top.replace("_", "-"), *_distributions().get(top, ())):
        try:
            url = json.loads(importlib.metadata.distribution(name).read_text("direct_url.json") or "{}")
        except (importlib.metadata.PackageNotFoundError, ValueError):
            continue
        if url.get("dir_info", {}).get("editable"):
            return True
    return False


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
