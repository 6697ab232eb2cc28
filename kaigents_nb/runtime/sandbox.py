"""The SDK's sandbox as we use it: modules are shared, their forbidden members are guarded."""

from __future__ import annotations

from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.worker.workflow_sandbox._restrictions import RestrictionContext


def sandbox() -> SandboxedWorkflowRunner:
    """Return the runner for agents.

    Modules pass through unloaded twice (a fresh pandas for every run would cost seconds); what can't be replayed
    in them still raises when an agent touches it.
    """
    return SandboxedWorkflowRunner(SandboxRestrictions.default.with_passthrough_all_modules())


def unwrap(value: object) -> object:
    """Return the real object behind the sandbox's guard, for class bodies and type hints."""
    real: object = RestrictionContext.unwrap_if_proxied(value)
    return real
