"""One module a queue: its worker, and its client; each runs in an environment where only that queue is installed."""
