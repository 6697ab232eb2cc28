"""The mended step of test_errors, as a re-executed cell would define it."""

import functools

import kaigents_nb as kg


@kg.step
def buggy(x):
    return x.upper()


@kg.step(retry=kg.Retry(first_wait=3600, max_wait=3600))
def slow_to_retry(path):
    raise OSError("still not there")


def logged(fn):
    @functools.wraps(fn)
    def call(*args):
        return fn(*args)

    return call


@logged
@kg.step
def logged_buggy(x):
    return x.upper()
