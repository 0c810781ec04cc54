"""The plots of the peers: SVG files that a page shows as images."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from benchmarks.peers.cells import Cell, Kind, Load
from benchmarks.peers.comparison import Quantity, values
from benchmarks.peers.peer import Peer, Wire
from benchmarks.peers.state import Found

_JSON = Load(Kind.CLOSED, Wire.JSON, 64)
_OURS, _OTHERS = "#2a6f97", "#9aa5b1"
_LINES = ("#9a5b13", "#2a6f97", "#5f8f3e")
_STYLE = {
    "svg.fonttype": "path",  # as an image it has no fonts of the page's
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "figure.facecolor": "white",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def write(folder: Path, peers: Sequence[Peer], done: Mapping[Cell, Found]) -> dict[str, str]:
    """Draw what there is.

    Returns:
        The files' names as a page in `docs/` refers to them, to what they show.
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {}
    throughput = _medians(peers, done, _JSON, Quantity.RATE)
    if throughput:
        path = folder / "peers-json.svg"
        _save(path, _Bars(throughput).draw)
        drawn[path] = "Requests a second over JSON, 64 connections, of every server"
    for quantity, name in ((Quantity.RATE, "rate"), (Quantity.P99, "p99")):
        lines = _Lines(peers, done, quantity)
        if lines.curves:
            path = folder / f"peers-binary-{name}.svg"
            _save(path, lines.draw)
            drawn[path] = f"{quantity} over HTTP binary, by connections"
    return {f"{folder.name}/{path.name}": what for path, what in drawn.items()}


def _save(path: Path, draw: Callable[[Axes], None]) -> None:
    with mpl.rc_context({**_STYLE, "svg.hashsalt": path.name}):
        figure = Figure(figsize=(7, 3), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        figure.savefig(path, format="svg", metadata=_NO_METADATA)


class _Bars:
    """A bar for each server, with its range."""

    def __init__(self, found: Mapping[str, tuple[float, float, float, bool]]) -> None:
        self._found = found

    def draw(self, axes: Axes) -> None:
        """Put them on the axes, the fastest at the top."""
        ordered = sorted(self._found.items(), key=lambda item: item[1][0])
        places = range(len(ordered))
        medians = [one[0] for _, one in ordered]
        below = [one[0] - one[1] for _, one in ordered]
        above = [one[2] - one[0] for _, one in ordered]
        colours = [_OURS if one[3] else _OTHERS for _, one in ordered]
        axes.barh(places, medians, xerr=[below, above], color=colours, ecolor="#333333")
        axes.set_yticks(list(places), [title for title, _ in ordered])
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("requests/s, median and range")


class _Lines:
    """A line for each server that speaks HTTP binary, over connections."""

    def __init__(
        self, peers: Sequence[Peer], done: Mapping[Cell, Found], quantity: Quantity
    ) -> None:
        self._quantity = quantity
        self.curves: dict[str, list[tuple[int, float]]] = {}
        for peer in peers:
            sizes = peer.closed.get(Wire.BINARY, ())
            points = [
                (size, statistics.median(of.values()))
                for size in sizes
                if (of := values(done, peer.name, Load(Kind.CLOSED, Wire.BINARY, size), quantity))
            ]
            if points:
                self.curves[peer.title] = points

    def draw(self, axes: Axes) -> None:
        """Put them on the axes."""
        for colour, (title, points) in zip(_LINES, self.curves.items(), strict=False):
            xs, ys = zip(*points, strict=True)
            axes.plot(xs, ys, marker="o", label=title, color=colour)
        axes.set_xscale("log")
        sizes = sorted({x for points in self.curves.values() for x, _ in points})
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("connections")
        if self._quantity is Quantity.P99:
            axes.set_yscale("log")
            axes.set_ylabel("p99, ms")
        else:
            axes.set_ylim(bottom=0)
            axes.set_ylabel("requests/s")
        axes.legend(frameon=False)


def _medians(
    peers: Sequence[Peer], done: Mapping[Cell, Found], load: Load, quantity: Quantity
) -> dict[str, tuple[float, float, float, bool]]:
    """Title to median, least, most, and whether it is Lupine."""
    found = {}
    for peer in peers:
        of = list(values(done, peer.name, load, quantity).values())
        if of:
            ours = peer.name.startswith("lupine")
            found[peer.title] = (statistics.median(of), min(of), max(of), ours)
    return found
