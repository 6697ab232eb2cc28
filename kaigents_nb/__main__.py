"""Entry point of the command line: ``kaigents-nb``, or ``python -m kaigents_nb``."""

from __future__ import annotations

import atexit
import os
import sys

from kaigents_nb.cli import app, printing
from kaigents_nb.demo.command import demo
from kaigents_nb.errors import KaigentsError
from kaigents_nb.fake_model.command import fake_model

app.command("fake-model")(fake_model)
app.command()(demo)
app.registered_commands.insert(0, app.registered_commands.pop())  # the first thing that `--help` offers


class _Leave:
    """Ends the process after everybody else has tidied up, and before the interpreter takes itself apart.

    Threads of the SDK live as long as the process. One of them can ask for the interpreter's lock while that is
    being dismantled, which aborts the process after its work was done well.
    """

    def __init__(self) -> None:
        self.code = 0

    def __call__(self) -> None:
        if "temporalio" not in sys.modules:
            return
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                self.code = self.code or 1  # the reader has left, as in `kaigents-nb runs | head -1`
        os._exit(self.code)


def main() -> None:
    """Run the command line and exit: 0 when all went well, 1 with a message on stderr, 2 for wrong usage."""
    leave = _Leave()
    atexit.register(leave)  # the first to be registered is the last to be called
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that this terminal can't show is no error
    # Who looks at a run or decides must not begin to execute it; `worker` says that it does.
    os.environ["KAIGENTS_WORKER"] = "off"
    leave.code = 1  # of an error that nobody expected
    leave.code = _run()
    sys.exit(leave.code)


def _run() -> int:
    try:
        app(prog_name="kaigents-nb")
    except SystemExit as done:
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except (KaigentsError, ValueError) as error:
        if "--debug" in sys.argv:
            raise
        printing.say(str(error), stderr=True)
        return 1
    finally:
        connecting = sys.modules.get("kaigents_nb.runtime.connecting")
        if connecting is not None:
            connecting.disconnect()
    return 0


if __name__ == "__main__":
    main()
