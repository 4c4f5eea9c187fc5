"""The program, as ``nats-fluent`` and as ``python -m nats_fluent``.

Exit codes: 0 stopped or fine, 1 failed while running, 2 settings or usage, 130 Ctrl-C where nothing waits for it.
"""

from __future__ import annotations

import contextlib
import os
import sys

from nats_fluent import running
from nats_fluent.errors import NatsFluentError, SettingsError


def main() -> None:
    """Run the command line; what a user can mend is said in a sentence, not in a traceback."""
    _open_missing()
    try:
        given = running.read(sys.argv[2:]) if sys.argv[1:2] == ["run"] else None
        if given is not None:
            sys.exit(running.run(given.config, given.flags))
        from nats_fluent.cli import app  # noqa: PLC0415 - typer, which `running` does without

        # The name that completion is asked for, also as `python -m nats_fluent`.
        app(prog_name="nats-fluent")
    except SettingsError as error:
        for problem in error.problems:
            print(f"nats-fluent: {problem}", file=sys.stderr)
        sys.exit(2)
    except NatsFluentError as error:
        print(f"nats-fluent: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _open_missing() -> None:
    """Open the null device as standard input, output or error where there is none.

    The next socket would have that number, and libuv ends a process that closes such a one (1.48, `uv__close`).
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


if __name__ == "__main__":
    main()
