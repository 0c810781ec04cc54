"""Published figures, a module a topic. `python -m benchmarks.evidence TOPIC` makes one again."""
