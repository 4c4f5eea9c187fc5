"""Where messages come from: the only importers of nats-py."""
