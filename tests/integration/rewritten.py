"""ten_steps of test_fork, as an analyst rewrote it."""

import kaigents_nb as kg


@kg.step
def work(ledger, n, x):
    raise AssertionError("taken over, never executed")


@kg.step
def summarize(x):
    return f"rewritten after 3 steps: {x}"


@kg.agent
async def ten_steps(ledger, start):
    x = start
    for n in range(3):
        x = await work(ledger, n, x)
    return await summarize(x)
