"""Locust's door to the SLA benchmark: `locust -f benchmarks/locustfile.py --host http://127.0.0.1:3000`.

The SLA file is `LUPINE_BENCH_SLA`, else `benchmarks/sla.toml`: it decides users, rates and length.
Latency counts from the intended send. `lupine bench` runs this, judges and reports.
"""

from __future__ import annotations

from benchmarks.load.users import session, shape, users

_SESSION = session()
globals().update(users(_SESSION))
SlaShape = shape(_SESSION)
