"""The SDK's sandbox as we use it: modules are shared, their forbidden members are guarded."""

from __future__ import annotations

import decimal
import logging
from dataclasses import replace
from typing import Any

from temporalio import workflow
from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._restrictions import RestrictedModule, RestrictionContext, _RestrictionState

from kaigents_nb.runtime.guard import Activation, activated, install
from kaigents_nb.runtime.lacking import keep_quiet
from kaigents_nb.runtime.recheck import ReplayWatch, Report
from kaigents_nb.values import zones


class _Instance(WorkflowInstance):
    """One sandboxed run. Whose a payload is, our converter does not ask, so it is not looked up.

    The SDK enters the sandbox for that, several times for each payload: nearly half the work of a step.
    """

    def __init__(self, inner: WorkflowInstance, watch: ReplayWatch | None, activation: Activation) -> None:
        self._inner = inner
        self._watch = watch
        self._activation = activation

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
    def __init__(self, restrictions: SandboxRestrictions, report: Report | None, watched: bool) -> None:
        super().__init__(restrictions)
        self._report = report
        self._watched = watched

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        info = det.info
        watch = ReplayWatch(info.workflow_id, info.run_id, self._report) if self._report is not None else None
        return _Instance(super().create_instance(det), watch, Activation(self._watched))


_DECIMALS = decimal.DefaultContext.copy()
"""What a run's own context is a copy of; that of its thread is changed by whichever run changed it last."""
_MEMBERS = SandboxRestrictions.invalid_module_members_default
"""What the SDK forbids. Of asyncio it only warns; :mod:`kaigents_nb.runtime.agent_asyncio` mends that instead. A time
zone is the same wherever packages are; guarded, it could not be given to a datetime."""
_NOT_FORBIDDEN = ("asyncio", "zoneinfo")
_ANY_STORE = StorageDriverStoreContext(target=None)


def sandbox(report: Report | None = None, *, watched: bool = False) -> SandboxedWorkflowRunner:
    """Return the runner for agents; ``report`` is told what runs ask for while they are replayed.

    ``watched`` keeps all of them from reaching for the world, also those that could when they began.

    Modules pass through unloaded twice (a fresh pandas for every run would cost seconds); what can't be replayed
    in them still raises when an agent touches it. What libraries do for it, the audit hook sees.
    """
    # What an agent was refused is in the run's error; the SDK's own line about it would land in some cell.
    logging.getLogger(RestrictionContext.__module__).setLevel(logging.ERROR)
    zones.outside = workflow.unsafe.sandbox_unrestricted
    keep_quiet()
    install()
    return _Runner(
        replace(
            SandboxRestrictions.default.with_passthrough_all_modules(),
            invalid_module_members=replace(
                _MEMBERS, children={name: one for name, one in _MEMBERS.children.items() if name not in _NOT_FORBIDDEN}
            ),
        ),
        report,
        watched,
    )


def unwrap(value: object) -> object:
    """Return the real object behind the sandbox's guard, for class bodies and type hints."""
    # The SDK's own way does not do it for modules, and a class can't be derived from what is in a guarded one.
    if isinstance(value, RestrictedModule):
        return _RestrictionState.from_proxy(value).obj
    real: object = RestrictionContext.unwrap_if_proxied(value)
    return real
