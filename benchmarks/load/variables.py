"""What the locustfile is told before it has a command line: environment variables.

Apart from `users`, because importing Locust monkey-patches the whole process.
"""

from __future__ import annotations

SLA_VARIABLE = "LUPINE_BENCH_SLA"
"""Path of the SLA file."""
QUICK_VARIABLE = "LUPINE_BENCH_QUICK"
"""Anything: one short repetition."""
