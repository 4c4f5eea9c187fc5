"""The program, as ``nats-fluent`` and as ``python -m nats_fluent``.

Exit codes: 0 stopped or fine, 1 failed while running, 2 settings or usage, 130 Ctrl-C where nothing waits for it.
"""

from __future__ import annotations

import sys

from nats_fluent import running
from nats_fluent.errors import NatsFluentError, SettingsError


def main() -> None:
    """Run the command line; what a user can mend is said in a sentence, not in a traceback."""
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


if __name__ == "__main__":
    main()
