"""A step that stands for one of the library's own; a worker has it by importing this module."""

from __future__ import annotations

import kaigents_nb as kg
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.authoring.options import StepOptions


@library_step("test.repeat", StepOptions(retry=kg.Retry(max_attempts=2, first_wait=0)))
def repeat(value, times):
    """Give a value back several times; not at all for a negative number."""
    if times < 0:
        raise ConnectionError(f"{times} times")
    return [value] * times
