"""Run the command line as ``python -m nats_fluent``."""

from nats_fluent.cli import main

if __name__ == "__main__":
    main()
