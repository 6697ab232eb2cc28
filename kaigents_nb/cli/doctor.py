"""``kaigents-nb doctor``: what is installed, which server would be used, whether it answers, what to do."""

from __future__ import annotations

import os
from dataclasses import replace

import kaigents_nb as kg
from kaigents_nb.cli import printing
from kaigents_nb.cli.arguments import AsJson
from kaigents_nb.runtime.environment import names_cluster
from kaigents_nb.server import datadir
from kaigents_nb.server.diagnosis import Check
from kaigents_nb.server.diagnosis import doctor as embedded_checks

_SIGNS = {True: "ok", False: "WRONG", None: "-"}


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which server would be used, whether it answers, and what to do if not.

    Nothing is started or changed. The exit code is 1 when something keeps runs from being started.
    """
    checks = embedded_checks(datadir.chosen())
    if names_cluster():
        checks = [_unused(check) for check in checks if check.name != "server"]
        checks.append(_cluster())
    if as_json:
        fields = ("name", "ok", "detail", "advice", "blocks")
        printing.as_json([{name: getattr(check, name) for name in fields} for check in checks])
    else:
        for check in checks:
            printing.say(f"{_SIGNS[check.ok]:5}  {check.name}: {check.detail}")
            if check.advice:
                printing.say(f"       {'→ ' if check.ok is False else ''}{check.advice}")
    wrong = [check.name for check in checks if check.ok is False and check.blocks]
    if wrong:
        raise printing.fail(f"Runs can't be started: {', '.join(wrong)}.")


def _unused(check: Check) -> Check:
    """A finding about the embedded server, while the environment names another."""
    return replace(check, blocks=check.blocks and check.name in ("python", "packages", "data directory"))


def _cluster() -> Check:
    try:
        connection = kg.connect()
    except (ImportError, kg.KaigentsError, ValueError) as error:
        names = [name for name in sorted(os.environ) if name.startswith(("TEMPORAL_", "KAIGENTS_PROFILE"))]
        return Check("server", False, str(error), f"The environment asks for it: {', '.join(names)}.")
    return Check("server", True, f"{connection!r}, as the environment asks")
