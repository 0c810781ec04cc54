"""`report.html`: one file that needs nothing else, for the screen, the phone and paper."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import msgspec
import numpy as np
from markupsafe import Markup

from benchmarks.report import figures, notation
from benchmarks.report.document import Document, Summary
from benchmarks.report.figures import Plot
from benchmarks.report.gauge import gauge
from benchmarks.report.summary import runs_of
from benchmarks.result import Repetition
from benchmarks.sla import Bursts, Constant, Poisson, Steps, Target, Trace, connections
from benchmarks.verdict import TargetVerdict

_EXAMPLES = 8
_SIGNS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All of one target.

    Args:
        key: its anchor.
        target: as promised.
        verdict: as judged.
        summary: as measured.
        plots: of it.
        failures: kind, count, percentage of all requests.
        examples: texts of failures.
    """

    key: str
    target: Target
    verdict: TargetVerdict
    summary: Summary
    plots: Sequence[Plot]
    failures: Sequence[tuple[str, int, float]]
    examples: Sequence[str]


def render(document: Document, repetitions: Sequence[Repetition], digest: str) -> str:
    """The page.

    Args:
        document: what is reported; its verdict and its targets follow the order of its SLA.
        repetitions: what was measured.
        digest: SHA-256 of `report.json`, which a signature on paper refers to.
    """
    return rendered(
        "template.html.j2",
        document=document,
        digest=digest,
        sections=_sections(document, repetitions),
        generator=list(figures.of_generator(repetitions)),
        runs=[one.run for one in repetitions],
        connects=[_connects(one) for one in repetitions],
        connections=connections,
    )


def rendered(template: str, **values: Any) -> str:
    """A page out of a template of this folder, with its style in it and a policy that allows it."""
    here = Path(__file__).parent
    style = (here / "style.css").read_text()
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        aligned=_aligned,
        arrivals=_arrivals,
        count=notation.count,
        gauge=gauge,
        interval=notation.interval,
        json=_json,
        measure=notation.measure,
        moment=notation.moment,
        number=notation.number,
        percent=notation.share,
        relation=notation.relation,
        sign=_SIGNS.__getitem__,
    )
    return environment.get_template(template).render(
        style=Markup(style),  # noqa: S704 - our own file
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        **values,
    )


def _sections(document: Document, repetitions: Sequence[Repetition]) -> list[Section]:
    verdicts = {one.name: one for one in document.verdict.targets}
    summaries = {one.name: one for one in document.targets}
    found = []
    for place, target in enumerate(document.sla.target, start=1):
        runs = runs_of(target.name, repetitions)
        verdict, summary = verdicts[target.name], summaries[target.name]
        key = f"target{place}"
        texts = Counter(text for run in runs for text in run.examples)
        found.append(
            Section(
                key=key,
                target=target,
                verdict=verdict,
                summary=summary,
                plots=list(figures.of_target(key, verdict, runs)),
                failures=[
                    (kind, times, 100 * times / max(summary.asked, 1))
                    for kind, times in summary.failed.items()
                ],
                examples=list(texts)[:_EXAMPLES],
            )
        )
    return found


def _connects(repetition: Repetition) -> tuple[float | None, float | None]:
    """What making a connection took, median and longest, milliseconds."""
    took = repetition.run.connect_ms
    return (float(np.median(took)), max(took)) if took else (None, None)


def _finalize(value: Any) -> Any:
    """Texts come from strangers: what HTML cannot hold is taken out, then all is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return notation.printable(value)
    return value


def _aligned(text: str) -> Markup:
    """A number whose decimal point stands below that of the number above it."""
    whole, point, rest = text.partition(".")
    return Markup('<span class="n">{}<span class="d">{}</span></span>').format(whole, point + rest)


def _arrivals(target: Target) -> str:
    """How requests come, in words."""
    match target.arrivals:
        case Bursts(on_seconds=on, every_seconds=every):
            return f"Poisson in bursts, {on:g} s of every {every:g} s"
        case Steps(steps=steps):
            told = ", ".join(f"×{step.factor:g} for {step.seconds:g} s" for step in steps)  # noqa: RUF001
            return f"Poisson in steps: {told}"
        case Trace(file=file, speed=speed):
            return f"trace {file}" + ("" if speed == 1 else f", {speed:g} times as fast")
        case Constant():
            return "constant"
        case Poisson():
            return "Poisson"


def _json(value: Any) -> str:
    """A value in one line; an object or a list in several."""
    encoded = msgspec.json.encode(value)
    return msgspec.json.format(encoded, indent=2).decode()
