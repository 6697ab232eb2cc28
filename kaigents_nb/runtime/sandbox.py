"""The SDK's sandbox as we use it: modules are shared, their forbidden members are guarded."""

from __future__ import annotations

import decimal
import logging
from dataclasses import replace
from typing import Any

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext

from kaigents_nb.runtime.guard import Activation, activated, install
from kaigents_nb.runtime.recheck import ReplayWatch, Report


class _Instance(WorkflowInstance):
    """One sandboxed run. Whose a payload is, our converter does not ask, so it is not looked up.

    The SDK enters the sandbox for that, several times for each payload: nearly half the work of a step.
    """

    def __init__(self, inner: WorkflowInstance, watch: ReplayWatch | None) -> None:
        self._inner = inner
        self._watch = watch
        self._activation = Activation()

    def activate(self, act: Any) -> Any:
        with activated(self._activation), decimal.localcontext(_DECIMALS):
            completion = self._inner.activate(act)
        if self._watch is not None:
            self._watch.done(act, completion)
        return completion

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return _ANY_STORE

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()

    def get_info(self) -> Any:
        return self._inner.get_info()


class _Runner(SandboxedWorkflowRunner):
    def __init__(self, restrictions: SandboxRestrictions, report: Report | None) -> None:
        super().__init__(restrictions)
        self._report = report

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        info = det.info
        watch = ReplayWatch(info.workflow_id, info.run_id, self._report) if self._report is not None else None
        return _Instance(super().create_instance(det), watch)


_DECIMALS = decimal.DefaultContext.copy()
"""What a run's own context is a copy of; that of its thread is changed by whichever run changed it last."""
_ANY_STORE = StorageDriverStoreContext(target=None)


def sandbox(report: Report | None = None) -> SandboxedWorkflowRunner:
    """Return the runner for agents; ``report`` is told what runs ask for while they are replayed.

    Modules pass through unloaded twice (a fresh pandas for every run would cost seconds); what can't be replayed
    in them still raises when an agent touches it. What libraries do for it, the audit hook sees.
    """
    # What an agent was refused is in the run's error; the SDK's own line about it would land in some cell.
    logging.getLogger(RestrictionContext.__module__).setLevel(logging.ERROR)
    install()
    restrictions = SandboxRestrictions.default.with_passthrough_all_modules()
    members = restrictions.invalid_module_members
    # A time zone is the same wherever packages are; guarded, it could not be given to a datetime.
    zones_too = {name: child for name, child in members.children.items() if name != "zoneinfo"}
    return _Runner(replace(restrictions, invalid_module_members=replace(members, children=zones_too)), report)


def unwrap(value: object) -> object:
    """Return the real object behind the sandbox's guard, for class bodies and type hints."""
    real: object = RestrictionContext.unwrap_if_proxied(value)
    return real
