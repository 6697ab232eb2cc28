"""Where the code of runs lives as modules: ``kaigents_nb.snapshot.code_of.run_<digest>``.

A pickle that a step wrote, with ``joblib.dump`` for example, names its functions and classes there. Where that code is
not loaded, those names mean what the notebook has under them, or the run whose step reads the pickle. So Python must
find such modules: nothing but their names is answered for, and only once this package is imported, which is what
reading such a pickle begins with.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

from kaigents_nb.snapshot.run_module import Elsewhere
from kaigents_nb.values.encoded import RUN_MODULE_PREFIX


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self, is_package=True) if fullname.startswith(RUN_MODULE_PREFIX) else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Elsewhere(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing: it has what others have."""


sys.meta_path.append(_Finder())
