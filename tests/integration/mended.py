"""The mended step of test_errors, as a re-executed cell would define it."""

import kaigents_nb as kg


@kg.step
def buggy(x):
    return x.upper()
