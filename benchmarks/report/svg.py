"""A figure of matplotlib's as SVG that lives inside a page.

Colours become classes, so that the page's scheme (light, dark, paper) decides on them and the page
needs no inline style; ids are the figure's own; what nobody refers to is gone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#010101", "#010102", "#010103", "#010104"
LATENCY, SERVICE, SERVER, LIMIT, FAILED = "#010105", "#010106", "#010107", "#010108", "#010109"
"""Stand-ins for the page's colours: no figure may use another."""

_ROLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    PAPER: "paper",
    LATENCY: "latency",
    SERVICE: "service",
    SERVER: "server",
    LIMIT: "limit",
    FAILED: "failed",
}
WIDTH = 340  # a phone shows it without making the text smaller
_STYLE = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same layout everywhere
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.minor.visible": False,
    "ytick.minor.visible": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.borderaxespad": 0.0,
    "legend.borderpad": 0.1,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.4,
    "lines.solid_capstyle": "butt",
}
_POINTS_PER_INCH = 72  # a unit of matplotlib's SVG is a point
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))
_PASSED_ON = {
    "fill-opacity",
    "opacity",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
}
_DECIMALS = re.compile(r"\d+\.\d+")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


def drawing(
    draw: Callable[[Axes], None], *, key: str, title: str, description: str, height: float = 168
) -> str:
    """An `svg` element, WIDTH wide.

    Args:
        draw: puts the content on the axes.
        key: a name that no other figure of the page has.
        title: what it shows, for those who do not see it.
        description: what can be seen in it.
        height: in the same units as the width.
    """
    style = {**_STYLE, "svg.hashsalt": key}
    with mpl.rc_context(style):
        figure = Figure(
            figsize=(WIDTH / _POINTS_PER_INCH, height / _POINTS_PER_INCH), layout="constrained"
        )
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes)
        if axes.get_legend_handles_labels()[0]:
            figure.legend(loc="outside upper left", ncols=5, fontsize=8.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=_NO_METADATA)
    return _rewritten(buffer.getvalue(), key=key, title=title, description=description)


def _rewritten(text: str, *, key: str, title: str, description: str) -> str:
    found = ET.fromstring(text)  # noqa: S314 - our own drawing
    root = ET.Element(
        "svg",
        {
            "class": "plot",
            "role": "img",
            "viewBox": found.attrib["viewBox"],
            "aria-labelledby": f"{key}-title {key}-desc",
        },
    )
    ET.SubElement(root, "title", id=f"{key}-title").text = title
    ET.SubElement(root, "desc", id=f"{key}-desc").text = description
    used = set(_references(found))
    root.extend(_content(found, key, used))
    return ET.tostring(root, encoding="unicode")


def _clean(element: ET.Element, key: str, used: set[str]) -> ET.Element:
    clean = ET.Element(_local(element.tag))
    for name, value in element.attrib.items():
        plain = _local(name)
        if plain == "id":
            if value in used:
                clean.set("id", f"{key}-{value}")
        elif plain == "href":
            clean.set("href", f"#{key}-{value.removeprefix('#')}")
        elif plain == "style":
            _restyle(clean, value)
        elif plain in {"d", "transform", "x", "y", "width", "height"}:
            clean.set(plain, _DECIMALS.sub(lambda m: f"{float(m[0]):.1f}", " ".join(value.split())))
        elif plain == "clip-path":
            clean.set(plain, _REFERENCE.sub(rf"url(#{key}-\1)", value))
        elif plain != "type":
            clean.set(plain, value)
    clean.text = (element.text or "").strip() or None
    clean.extend(_content(element, key, used))
    return clean


def _content(element: ET.Element, key: str, used: set[str]) -> Iterator[ET.Element]:
    """What an element holds, but for what would show nothing."""
    for child in element:
        if _local(child.tag) not in {"metadata", "style"}:
            clean = _clean(child, key, used)
            if len(clean) or clean.tag not in {"g", "defs"}:
                yield clean


def _restyle(element: ET.Element, style: str) -> None:
    """A style as attributes, its colours as classes."""
    classes = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name in {"fill", "stroke"}:
            if value == "none":
                element.set(name, value)
            elif value in _ROLES:
                classes.append(f"{name}-{_ROLES[value]}")
            else:
                raise ValueError(f"a figure uses {name} {value!r}, which is no colour of the page")
        elif name == "font-size":
            element.set(name, value.removesuffix("px"))
        elif name == "font":
            element.set("font-size", value.split("px")[0].split()[-1])
        elif name in _PASSED_ON:
            element.set(name, value)
    if classes:
        element.set("class", " ".join(classes))


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        for name, value in element.attrib.items():
            if _local(name) == "href":
                yield value.removeprefix("#")
            yield from _REFERENCE.findall(value)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
