"""The part of `docs/performance.md` that `make bench-peers` writes."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.harness.record import spread
from benchmarks.peers import k6
from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.comparison import CLAIMS, Quantity, Ratio, compare, values
from benchmarks.peers.peer import Peer, Wire
from benchmarks.peers.run import Outcome
from benchmarks.peers.state import Found

BEGIN = "<!-- begin: written by `make bench-peers` -->"
END = "<!-- end: written by `make bench-peers` -->"
_HEADING = "## Beside other servers"


def put(page: str, fragment: str) -> str:
    """The page with the fragment between its markers; at the end where it has none."""
    if BEGIN not in page:
        return f"{page.rstrip()}\n\n{BEGIN}\n{fragment}{END}\n"
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{fragment}{END}{after}"


def chosen(ratio: Ratio) -> str:
    """Whom it was compared with, where there was a choice."""
    return f" (against `{ratio.against}`)" if len(ratio.claim.against) > 1 else ""


def fragment(
    peers: Sequence[Peer],
    done: Mapping[Cell, Found],
    outcome: Outcome,
    plots: Mapping[str, str],
) -> str:
    """The fragment, Markdown.

    Args:
        peers: that were asked for.
        done: what was measured.
        outcome: what went wrong.
        plots: file names, relative to the page, to what they show.
    """
    rounds = len({cell.round for cell in done})
    intro = (
        f"`make bench-peers`: the MLP 64→256→256→16, one row a request, {rounds} alternations in "
        "one run, medians and ranges. Each server has an environment of its own and is set up as "
        "its documentation advises, with batching on; its answers were checked before and behind "
        "every load. Load generators, servers and models share the cores."
    )
    parts = [
        _HEADING,
        intro,
        _ratios(done),
        *(f"![{what}]({name})" for name, what in plots.items()),
        _closed(peers, done),
        _open(peers, done),
        _set_up(peers),
    ]
    missing = [f"- `{name}` takes no part: {why[-200:]}" for name, why in outcome.absent.items()]
    missing += [f"- not measured: {what[-200:]}" for what in outcome.troubled]
    if missing:
        parts.append("\n".join(missing))
    return "\n\n".join(part for part in parts if part) + "\n"


def _ratios(done: Mapping[Cell, Found]) -> str:
    lines = ["| Lupine ÷ another, same round | measured | target | |", "|---|---|---|---|"]
    for claim in CLAIMS:
        ratio = compare(claim, done)
        if ratio is None:
            continue
        sign = "≥" if claim.quantity is Quantity.RATE else "≤"
        target = f"{sign} {claim.target:g}" if claim.target is not None else ""
        mark = {None: "", True: "holds", False: "**missed**"}[ratio.holds]
        measured = spread(ratio.ratios, 2) + chosen(ratio)
        lines.append(f"| {claim.name} | {measured} | {target} | {mark} |")
    return "\n".join(lines)


def _closed(peers: Sequence[Peer], done: Mapping[Cell, Found]) -> str:
    lines = [
        "| `wrk`; gRPC: `h2load` | requests/s | p99, ms | CPU, µs | RSS, MiB | failed |",
        "|---|---|---|---|---|---|",
    ]
    for peer in peers:
        for load in _loads(done, peer, Kind.CLOSED):
            found = _found(done, peer, load)
            unit = "in flight" if load.wire is Wire.GRPC else "connections"
            lines.append(
                f"| {peer.title}, {load.wire}, {load.size} {unit} "
                f"| {spread([one.rate for one in found], 0)} | {_p99(done, peer, load, 1)} "
                f"| {_median([one.cpu_us for one in found])} "
                f"| {_median([one.rss_mib for one in found])} "
                f"| {sum(one.failed for one in found) or ''} |"
            )
    return "\n".join(lines)


def _open(peers: Sequence[Peer], done: Mapping[Cell, Found]) -> str:
    head = [
        *("open loop, JSON", "offered/s", "answered/s", f"within {k6.LIMIT_MS} ms, /s"),
        *("p50, ms", "p99, ms", "p99 by our generator, ms"),
    ]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for peer in peers:
        for load in _loads(done, peer, Kind.K6):
            found = _found(done, peer, load)
            own = Load(Kind.OWN, load.wire, load.size)
            lines.append(
                f"| {peer.title} | {load.size} | {_median([one.rate for one in found])} "
                f"| {_median([one.prompt_rate for one in found])} "
                f"| {_median([one.p50_ms for one in found], 1)} | {_p99(done, peer, load, 1)} "
                f"| {_p99(done, peer, own, 1) if _has(done, peer, own) else ''} |"
            )
    if len(lines) == 2:
        return ""
    note = (
        "`k6` offers at a constant rate and times from the send; our generator's arrivals are "
        "Poisson, timed from the intended send. What is offered beyond what a server bears "
        "shows how it behaves overloaded; k6 then has its share of the two cores too."
    )
    return "\n".join(lines) + f"\n\n{note}"


def _set_up(peers: Sequence[Peer]) -> str:
    lines = []
    for peer in peers:
        pins = ", ".join(peer.environment.requirements) if peer.environment else "this checkout"
        lines.append(f"- **{peer.title}** ({pins}): {peer.configured}.")
    return "\n".join(lines)


def _loads(done: Mapping[Cell, Found], peer: Peer, kind: Kind) -> list[Load]:
    return sorted({c.load for c in done if c.peer == peer.name and c.load.kind is kind})


def _found(done: Mapping[Cell, Found], peer: Peer, load: Load) -> list[Found]:
    return [what for cell, what in done.items() if (cell.peer, cell.load) == (peer.name, load)]


def _has(done: Mapping[Cell, Found], peer: Peer, load: Load) -> bool:
    return any((cell.peer, cell.load) == (peer.name, load) for cell in done)


def _p99(done: Mapping[Cell, Found], peer: Peer, load: Load, digits: int) -> str:
    found = list(values(done, peer.name, load, Quantity.P99).values())
    return spread(found, digits) if found else "—"


def _median(values: Sequence[float | None], digits: int = 0) -> str:
    there = [value for value in values if value is not None]
    return f"{statistics.median(there):.{digits}f}" if there else "—"
