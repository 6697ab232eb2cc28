"""The SDK's sandbox as we use it: modules are shared, their forbidden members are guarded."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from temporalio.converter import StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext


class _Instance(WorkflowInstance):
    """One sandboxed run. Whose a payload is, our converter does not ask, so it is not looked up.

    The SDK enters the sandbox for that, several times for each payload: nearly half the work of a step.
    """

    def __init__(self, inner: WorkflowInstance) -> None:
        self._inner = inner

    def activate(self, act: Any) -> Any:
        return self._inner.activate(act)

    def get_serialization_context(self, command_info: Any) -> None:
        return None

    def get_external_store_context(self, command_info: Any) -> StorageDriverStoreContext:
        return _ANY_STORE

    def get_thread_id(self) -> int | None:
        return self._inner.get_thread_id()

    def get_info(self) -> Any:
        return self._inner.get_info()


class _Runner(SandboxedWorkflowRunner):
    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        return _Instance(super().create_instance(det))


_MEMBERS = SandboxRestrictions.invalid_module_members_default
"""What the SDK forbids. Of asyncio it only warns; :mod:`kaigents_nb.runtime.agent_asyncio` mends that instead."""

_ANY_STORE = StorageDriverStoreContext(target=None)


def sandbox() -> SandboxedWorkflowRunner:
    """Return the runner for agents.

    Modules pass through unloaded twice (a fresh pandas for every run would cost seconds); what can't be replayed
    in them still raises when an agent touches it.
    """
    # What an agent was refused is in the run's error; the SDK's own line about it would land in some cell.
    logging.getLogger(RestrictionContext.__module__).setLevel(logging.ERROR)
    return _Runner(
        replace(
            SandboxRestrictions.default.with_passthrough_all_modules(),
            invalid_module_members=replace(
                _MEMBERS, children={name: one for name, one in _MEMBERS.children.items() if name != "asyncio"}
            ),
        )
    )


def unwrap(value: object) -> object:
    """Return the real object behind the sandbox's guard, for class bodies and type hints."""
    real: object = RestrictionContext.unwrap_if_proxied(value)
    return real
