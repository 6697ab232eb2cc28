"""The step behind ``kg.chat_rows``: many rows in one activity, each saved as soon as it is answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from kaigents_nb.authoring.context import step_context
from kaigents_nb.authoring.library_steps import library_step
from kaigents_nb.errors import ModelRefused
from kaigents_nb.models import items as conversation
from kaigents_nb.models import journal, type_names
from kaigents_nb.models.answer import FILTERED, LENGTH, MALFORMED, REFUSAL, Usage
from kaigents_nb.models.call import Asked, Request, request_once
from kaigents_nb.models.items import Item
from kaigents_nb.models.ledger import Ledger
from kaigents_nb.models.output import Output
from kaigents_nb.models.retry_after import header, retry_after_s
from kaigents_nb.models.spent import Spent, spent

DONE, INVALID, REFUSED, FAILED = "done", "invalid", "refused", "failed"
_TRIES = 3
_BUSY = 429
_OF_ONE_ROW = (400, 413, 422)
"""What a server says of this row alone; 401, 403 and 404 it says of all."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


@dataclass(frozen=True)
class RowAnswer:
    """One row as it is saved."""

    row: int
    status: str
    text: str = ""
    error: str = ""
    cost_usd: float | None = 0.0
    """Of all its requests; None where the price of one is not known."""
    price_basis: str = ""
    usage: Usage = field(default_factory=Usage)
    requests: int = 0
    """Those that were answered."""
    model: str = ""
    said: list[Item] = field(default_factory=list)
    """What was said after the prompt, where that is not the text alone."""

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        return self.usage.total

    @property
    def spent(self) -> Spent:
        """What it has cost."""
        return spent(self.requests, self.usage, self.cost_usd)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> RowAnswer:
        """Read what was saved of it."""
        return cls(**{**record, "usage": Usage(**record["usage"])})


def output_of(wanted: Any) -> Output | None:
    """Return the type of the answers, written by :mod:`type_names`, as the code of the step's run has it."""
    step = step_context.get()
    return None if wanted is None or step is None else Output(type_names.read(wanted, step.resolve))


def judged(asked: Asked, output: Output | None, before: RowAnswer, more: Sequence[Item] = ()) -> RowAnswer:
    """Return what an answer is for its row.

    ``before`` has what was answered for it before, and ``more`` is what the model was told after the prompt.
    """
    text = conversation.text(asked.items)
    status, error = _verdict(asked, text, output)
    unknown = before.cost_usd is None or asked.cost_usd is None
    return replace(
        before,
        status=status,
        text=text if status == DONE else "",
        error=error,
        cost_usd=None if unknown else (before.cost_usd or 0.0) + (asked.cost_usd or 0.0),
        price_basis=before.price_basis if before.cost_usd is None else asked.price_basis,
        usage=before.usage + asked.usage,
        requests=before.requests + 1,
        model=asked.model,
        said=[*more, *asked.items] if more or status != DONE else [],
    )


def _verdict(asked: Asked, text: str, output: Output | None) -> tuple[str, str]:
    if asked.finish in (REFUSAL, FILTERED):
        return REFUSED, text or asked.note
    if asked.finish in (LENGTH, MALFORMED):
        return FAILED, f"The answer can't be used: {asked.note}."
    try:
        if output is not None:
            output.parse(text)
    except ValueError as misfit:
        return INVALID, str(misfit)
    return DONE, ""


@library_step("kg.chat_rows")
async def ask_rows(request: Request, prompts: list[str], wanted: Any, limit: int) -> list[RowAnswer]:
    """Ask for each prompt, so many at once; what an earlier attempt has saved is not asked again.

    Raises
    ------
    ModelError
        When nothing can be asked now, or by nobody: the step is tried again, or parks, with the rows so far saved.
    """
    step = step_context.get()
    output = output_of(wanted)
    known: dict[int, RowAnswer] = {}
    if step is not None:
        known = {record["row"]: RowAnswer.of_record(record) for record in journal.read(step.journal)}
    rest = iter([number for number in range(len(prompts)) if number not in known])
    with Ledger() as ledger:
        saved = journal.Journal(step.journal) if step is not None else None
        asking = _Asking(request, prompts, output, known, saved, ledger)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(limit, len(prompts))):
                    group.create_task(asking.work(rest))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            asking.close()
        await ledger.recorded(sum(answer.requests for answer in known.values()))
    return [known[number] for number in range(len(prompts))]


class _Asking:
    """One attempt at a table."""

    def __init__(
        self,
        request: Request,
        prompts: list[str],
        output: Output | None,
        done: dict[int, RowAnswer],
        saved: journal.Journal | None,
        ledger: Ledger,
    ) -> None:
        self._request = request
        self._prompts = prompts
        self._output = output
        self._done = done
        self._saved = saved
        self._ledger = ledger
        self._failed = 0
        self._pause_s = _FIRST_PAUSE_S
        self._busy_until = 0.0

    async def work(self, rest: Iterator[int]) -> None:
        """Take one row after the other."""
        for number in rest:
            answer = await self._row(number)
            if self._saved is not None:
                await self._saved.append(asdict(answer))
            self._done[number] = answer
            self._failed += answer.status != DONE
            self._report()

    def close(self) -> None:
        """Let go of the file."""
        if self._saved is not None:
            self._saved.close()

    def _report(self) -> None:
        step = step_context.get()
        if step is not None:
            note = f"{self._failed:,} not answered" if self._failed else ""
            step.report(len(self._done), len(self._prompts), note)

    async def _row(self, number: int) -> RowAnswer:
        items = [conversation.user(self._prompts[number])]
        answer = RowAnswer(number, FAILED)
        for _ in range(_TRIES):
            try:
                asked = await self._ask(items)
            except ModelRefused as refused:
                if refused.status_code not in _OF_ONE_ROW:
                    raise
                return replace(answer, status=FAILED, error=str(refused))
            answer = judged(asked, self._output, answer, items[1:])
            if answer.status in (DONE, REFUSED):
                break
            if answer.status == INVALID:
                items = [*items, *asked.items, conversation.user(f"{answer.error} Answer again.")]
        return answer

    async def _ask(self, items: list[conversation.Item]) -> Asked:
        """Ask once; while the server is busy, all rows wait as long as it says."""
        while True:
            loop = asyncio.get_running_loop()
            if (wait_s := self._busy_until - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            try:
                asked = await request_once(self._request, items, self._ledger)
            except ModelRefused as refused:
                if refused.status_code != _BUSY or header(refused, "x-should-retry") == "false":
                    raise
                pause_s = retry_after_s(refused)
                if pause_s is None:
                    pause_s = self._pause_s * random.uniform(1, 1.2)  # noqa: S311
                    self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
                self._busy_until = max(self._busy_until, loop.time() + pause_s)
                continue
            self._pause_s = _FIRST_PAUSE_S
            return asked
