"""What a run leaves behind: the table, the record, the plots, and the part of a page."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.harness.record import Evidence, spread
from benchmarks.harness.tables import PAGE
from benchmarks.peers import cells, environment, k6, page, plots, state
from benchmarks.peers.cells import Cell, Load
from benchmarks.peers.comparison import CLAIMS, Quantity, compare, values
from benchmarks.peers.peer import Peer
from benchmarks.peers.run import Outcome
from benchmarks.peers.state import Found

BACKEND = "Triton 24.10, Python backend; ONNX Runtime in process for all others"


def write(
    peers: Sequence[Peer],
    done: Mapping[Cell, Found],
    outcome: Outcome,
    folder: Path,
    *,
    trial: bool,
) -> int:
    """Print and write everything.

    Args:
        peers: that were asked for.
        done: what was measured.
        outcome: what went wrong.
        folder: for the record and the plots.
        trial: whether it is no evidence; then no page is changed.

    Returns:
        The exit status: 1 for a wrong answer, or a lost one of Lupine's.
    """
    evidence = Evidence("peers", BACKEND, command="make bench-peers", folder=folder)
    if trial:
        evidence.add("A TRIAL, no evidence", f"{len({cell.round for cell in done})} rounds")
    _claims(evidence, done)
    for peer in peers:
        _peer(evidence, peer, done)
    _troubles(evidence, outcome)
    evidence.raw["cells"] = state.raw(done)
    evidence.raw["peers"] = {peer.name: described(peer) for peer in peers}
    evidence.raw["k6"] = environment.version(k6.ENVIRONMENT)
    status = evidence.finish()
    drawn = plots.write(folder, peers, done)
    text = page.fragment(peers, done, outcome, drawn)
    if trial:
        (folder / "peers.md").write_text(text)
    else:
        PAGE.write_text(page.put(PAGE.read_text(), text))
    return status


def described(peer: Peer) -> dict[str, object]:
    """What a peer is and how it was set up."""
    requirements = peer.environment.requirements if peer.environment else ()
    return {
        "title": peer.title,
        "configured": peer.configured,
        "requirements": list(requirements),
    }


def _claims(evidence: Evidence, done: Mapping[Cell, Found]) -> None:
    for claim in CLAIMS:
        ratio = compare(claim, done)
        if ratio is None:
            continue
        sign = "≥" if claim.quantity is Quantity.RATE else "≤"
        evidence.add(
            claim.name,
            f"{spread(ratio.ratios, 2)}" + page.chosen(ratio),
            f"{sign} {claim.target:g}" if claim.target is not None else "",
            holds=ratio.holds,
        )


def _peer(evidence: Evidence, peer: Peer, done: Mapping[Cell, Found]) -> None:
    loads = sorted({cell.load for cell in done if cell.peer == peer.name})
    for load in loads:
        found = [what for cell, what in done.items() if (cell.peer, cell.load) == (peer.name, load)]
        failed = sum(one.failed for one in found)
        evidence.add(
            f"{peer.title}, {told(load)}",
            f"{spread([one.rate for one in found], 0)}/s, p99 {_p99(done, peer, load)} ms, "
            f"{_cpu(found)}{statistics.median(one.rss_mib for one in found):.0f} MiB"
            + _rest(found),
        )
        # An overload that no server of this machine can bear may be answered with a refusal.
        bearable = load.kind is not cells.Kind.K6 or load.size <= cells.OWN_LIMIT
        if failed and peer.name.startswith("lupine") and bearable:
            evidence.fault(f"{peer.title}, {told(load)}: {failed} requests failed")


def told(load: Load) -> str:
    """A load in words."""
    if load.kind is cells.Kind.CLOSED:
        unit = "in flight" if load.wire == "grpc" else "connections"
        return f"{load.wire}, {load.size} {unit}"
    return f"{load.wire}, {load.size}/s offered by {load.kind.replace('own', 'our generator')}"


def _p99(done: Mapping[Cell, Found], peer: Peer, load: Load) -> str:
    found = list(values(done, peer.name, load, Quantity.P99).values())
    return spread(found, 1) if found else "∞"


def _cpu(found: Sequence[Found]) -> str:
    costs = [one.cpu_us for one in found if one.cpu_us is not None]
    return f"{statistics.median(costs):.0f} µs CPU, " if costs else ""


def _rest(found: Sequence[Found]) -> str:
    """What not every load has to tell."""
    text = ""
    prompt = [one.prompt_rate for one in found if one.prompt_rate is not None]
    if prompt:
        text += f", {statistics.median(prompt):.0f}/s within {k6.LIMIT_MS} ms"
    if failed := sum(one.failed for one in found):
        text += f", {failed} failed"
    if unsent := sum(one.unsent for one in found):
        text += f", {unsent} not sent"
    return text


def _troubles(evidence: Evidence, outcome: Outcome) -> None:
    for name, why in outcome.absent.items():
        evidence.add(f"{name}: TAKES NO PART", why[-300:])
    for what in outcome.troubled:
        evidence.add("could not be measured", what[-300:])
    for what in outcome.wrong:
        evidence.fault(what)
    evidence.raw["absent"] = outcome.absent
    evidence.raw["troubled"] = outcome.troubled
