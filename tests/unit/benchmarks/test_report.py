from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest
from junitparser import Error, Failure, JUnitXml

from benchmarks import report
from benchmarks.distribution import Distribution
from benchmarks.report import document as documents
from benchmarks.report.gauge import gauge
from benchmarks.report.notation import interval, moment, number, share
from benchmarks.report.plots import added, probability, row_shares, wait_shares
from benchmarks.report.summary import summarise
from benchmarks.report.timeline import timeline
from benchmarks.result import Repetition
from benchmarks.series import LATENCY
from benchmarks.verdict import Doubt, Outcome
from tests import measured

_GOOD, _BAD, _OTHER = "digits, HTTP binary", "magika, gRPC", "parcels"
_VOID = {"meta", "link", "br"}
_DOUBT = Doubt(what="The generator was late.", advice="Give it a core of its own.", target=_BAD)


class _Page(HTMLParser):
    """Elements, text and ids of a page; an end tag that closes another element is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def close(self) -> None:
        super().close()
        assert not self._open


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one target that fails, one that passes, and doubts."""
    folder = tmp_path_factory.mktemp("report")
    names = [_BAD, _OTHER]
    found = measured.repetitions(names, 2, failing=_BAD)
    hostile = Doubt(what=measured.HOSTILE, advice=measured.HOSTILE, target=_OTHER)
    told = [measured.failing(_BAD), measured.passing(_OTHER)]
    report.write(
        folder, measured.document(measured.sla(names), found, told, [_DOUBT, hostile]), found
    )
    return folder


@pytest.fixture(scope="module")
def page(broken: Path) -> _Page:
    read = _Page()
    read.feed((broken / "report.html").read_text("utf-8"))
    read.close()
    return read


def test_verdict_first(page: _Page) -> None:
    """The page says FAIL before it says anything of a target, then names every claim and doubt."""
    assert (
        page.text.index("FAIL")
        < page.text.index("Some promises are broken")
        < page.text.index(_BAD)
    )
    for claim in (*measured.failing(_BAD).claims, *measured.passing(_GOOD).claims):
        assert claim.reason in page.text
    for word in (
        "PASS",
        "INCONCLUSIVE",
        _DOUBT.what,
        _DOUBT.advice,
        "48\N{NARROW NO-BREAK SPACE}000",
    ):
        assert word in page.text


def test_nothing_else_needed(page: _Page) -> None:
    """The page refers to nothing but itself, runs nothing, and has all style in one sheet."""
    for name, value in page.attributes:
        assert name not in {"src", "style", "onclick", "onload", "srcset", "action"}
        if name == "href":
            assert value.startswith("#") or value == "data:,"
        if name not in {"content", "aria-label"}:
            assert "://" not in value
    assert "script" not in page.tags
    assert page.tags.count("style") == 1


def test_anchors(page: _Page) -> None:
    """Every id of the page is there once, figures included, and whatever is referred to exists."""
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    wanted = {value[1:] for name, value in page.attributes if name == "href" and value[0] == "#"}
    for name, value in page.attributes:
        if name == "aria-labelledby":
            wanted |= set(value.split())
        wanted |= set(re.findall(r"url\(#(.+?)\)", value))
    assert wanted <= set(ids)


def test_hostile_text(page: _Page, broken: Path) -> None:
    """What a stranger said is text on the page, whatever it was: of failures, of doubts."""
    text = (broken / "report.html").read_text("utf-8")
    assert "<script" not in text
    assert "\x00" not in text
    assert "\x1b" not in text
    assert page.text.count("<script>alert('&amp;')</script>") == 3


def test_six_targets_are_small(broken: Path) -> None:
    """A target takes so little that a report of six stays below a megabyte."""
    assert (broken / "report.html").stat().st_size < 2 * 150_000


def test_the_same_again(broken: Path, tmp_path: Path) -> None:
    """Written again from what was read, the report is the same to the byte."""
    found = measured.repetitions([_BAD, _OTHER], 2, failing=_BAD)
    report.write(tmp_path, documents.read(broken), found)
    for name in ("report.html", "report.json", "junit.xml"):
        assert (tmp_path / name).read_bytes() == (broken / name).read_bytes()


def test_document_reads_back(tmp_path: Path) -> None:
    """`report.json` holds the document whole, and its digest is the file's."""
    found = measured.repetitions([_GOOD], 1)
    document = measured.document(measured.sla([_GOOD]), found, [measured.passing(_GOOD)])
    digest = documents.write(tmp_path, document)
    assert documents.read(tmp_path) == document
    assert len(digest) == 64


def test_endless_numbers_are_refused(tmp_path: Path) -> None:
    """A number that JSON cannot hold is an error that says where it is, and nothing is written."""
    found = measured.repetitions([_GOOD], 1)
    claim = measured.claim("p99", Outcome.FAIL, low=float("inf"))
    target = msgspec.structs.replace(measured.passing(_GOOD), claims=(claim,))
    document = measured.document(measured.sla([_GOOD]), found, [target])
    with pytest.raises(ValueError, match=r"verdict\.targets\[0\]\.claims\[0\]\.low is not finite"):
        documents.write(tmp_path, document)
    assert not list(tmp_path.iterdir())


def test_another_format(tmp_path: Path) -> None:
    """A report of a format that is not known is refused by its number."""
    (tmp_path / "report.json").write_text('{"format": 99}')
    with pytest.raises(msgspec.ValidationError, match="has format 99, not 1"):
        documents.read(tmp_path)


def test_junit(broken: Path) -> None:
    """A broken promise is a failure, an open one an error, a doubt too: none of them is skipped."""
    suites = {suite.name: suite for suite in JUnitXml.fromfile(str(broken / "junit.xml"))}
    assert set(suites) == {_BAD, _OTHER, "measurement"}
    bad, other, doubts = suites[_BAD], suites[_OTHER], suites["measurement"]
    assert (bad.tests, bad.failures, bad.errors, bad.skipped) == (4, 3, 1, 0)
    assert (other.tests, other.failures, other.errors) == (3, 0, 0)
    assert (doubts.tests, doubts.failures, doubts.errors) == (2, 0, 2)
    kinds = {case.name: [type(result) for result in case.result] for case in bad}
    assert kinds["p99 ≤ 100 ms"] == [Failure]
    assert kinds["p99.9 ≤ 500 ms"] == [Error]
    assert kinds["goodput ≥ 99 %"] == [Failure]
    root = ET.parse(broken / "junit.xml").getroot()  # noqa: S314 - just written
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("9", "3", "3")


def test_a_sound_measurement_is_said(tmp_path: Path) -> None:
    """Without a doubt the measurement has a case of its own that passes, and the page says so."""
    found: list[Repetition] = []  # no plots to wait for
    document = measured.document(measured.sla([_GOOD]), found, [measured.passing(_GOOD)])
    report.write(tmp_path, document, found)
    suites = {suite.name: suite for suite in JUnitXml.fromfile(str(tmp_path / "junit.xml"))}
    assert [case.is_passed for case in suites["measurement"]] == [True]
    assert "None: the load generator" in (tmp_path / "report.html").read_text("utf-8")


def test_doubts_alone(tmp_path: Path) -> None:
    """Promises that look kept and a doubt about the measurement make an INCONCLUSIVE page."""
    found: list[Repetition] = []  # no plots to wait for
    told = [measured.passing(_GOOD)]
    document = measured.document(measured.sla([_GOOD]), found, told, [_DOUBT])
    report.write(tmp_path, document, found)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "<title>INCONCLUSIVE: " in text
    assert _DOUBT.advice in text


def test_nothing_was_measured(tmp_path: Path) -> None:
    """A run that ended before its first second is reported as that."""
    whole = measured.repetitions([_GOOD], 1)[0]
    run = msgspec.structs.replace(
        whole.run, complete=False, problem="nobody <answers>", pulses=(), connect_ms=()
    )
    found = [Repetition(run=run, targets={})]
    document = measured.document(measured.sla([_GOOD]), found, [measured.passing(_GOOD)])
    report.write(tmp_path, document, found)
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "Nothing was measured of this target." in text
    assert "early: nobody &lt;answers&gt;" in text
    assert documents.read(tmp_path).targets[0].latency.p50_ms is None


def test_summary_counts_failures_as_slowest() -> None:
    """Failures push quantiles up: where more fail than a quantile leaves over, it is infinite."""
    found = measured.repetitions([_GOOD, _BAD], 2, failing=_BAD)
    good, bad = summarise(measured.sla([_GOOD, _BAD]), found)
    asked = 2 * measured.SECONDS * 120
    assert (good.asked, good.answered, good.failed) == (asked, asked, {})
    assert good.offered_rate == good.achieved_rate == 120
    assert bad.asked == asked == bad.answered + sum(bad.failed.values())
    assert bad.unsent == 6
    assert bad.latency.p50_ms is not None
    assert bad.latency.p999_ms is None
    assert bad.service.p999_ms is not None
    assert bad.latency.max_ms is not None


def test_quantile_is_an_observed_time() -> None:
    """The p-quantile is the smallest time that a share p keeps; failures come after all times."""
    times = Distribution(values=np.array([1000, 2000, 3000]), counts=np.array([50, 49, 1]))
    assert [times.quantile(p) for p in (0.5, 0.51, 0.99, 0.995, 1.0)] == [1, 2, 2, 3, 3]
    short = Distribution(values=times.values, counts=times.counts, endless=100)
    assert [short.quantile(p) for p in (0.25, 0.5, 0.51)] == [1, 3, None]
    values, rest = times.curve()
    assert values.tolist() == [1, 2, 3]
    assert rest.tolist() == pytest.approx([1, 0.5, 0.01])


def test_timeline_parts_repetitions() -> None:
    """Repetitions lie one after another with a gap between, and no request is lost."""
    runs = [one.targets[_BAD] for one in measured.repetitions([_BAD], 3, failing=_BAD)]
    line = timeline(runs)
    assert list(line.ends) == [30, 60, 90]
    assert int(np.isnan(line.middles).sum()) == 3
    assert np.nansum(line.asked) * line.width == sum(int(run.asked.sum()) for run in runs)
    assert np.nansum(line.answered) == sum(run.series[LATENCY].total for run in runs)
    assert np.nanmax(line.failed) > 0


def test_buckets_are_shares() -> None:
    """A cumulative histogram becomes shares of what lies between its edges, empty ends left out."""
    rows = added(
        [{1.0: 5.0, 2.0: 5.0, 4.0: 8.0, np.inf: 8.0}, {1.0: 1.0, 2.0: 1.0, 4.0: 1.0, np.inf: 2.0}]
    )
    assert row_shares(rows) == [("1", 60.0), ("2", 0.0), ("3–4", 30.0), ("> 4", 10.0)]  # noqa: RUF001
    assert wait_shares({0.001: 0.0, 0.005: 3.0, 0.01: 4.0, np.inf: 4.0}) == [
        ("≤ 5", 75.0),
        ("≤ 10", 25.0),
    ]
    assert row_shares({}) == wait_shares({1.0: 0.0}) == []


@pytest.mark.parametrize(
    ("name", "p"), [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p999", 0.999)]
)
def test_claims_name_their_quantile(name: str, p: float) -> None:
    """A claim about a quantile is drawn at it, however its name writes it."""
    assert probability(measured.claim(name, Outcome.PASS)) == p
    assert probability(measured.claim(f"{name} ÷ baseline", Outcome.PASS)) is None


def test_gauge_puts_what_breaks_to_the_right() -> None:
    """The limit is the middle; less latency lies left of it, less goodput right of it."""
    kept = gauge(measured.claim("p99", Outcome.PASS))
    assert kept is not None
    assert kept.low < kept.measured < kept.high < 60
    endless = gauge(measured.claim("p99", Outcome.FAIL, measured=None, low=300.0, high=None))
    assert endless is not None
    assert 60 < endless.low < endless.high == endless.measured == 116
    poor = gauge(
        measured.claim("goodput", Outcome.FAIL, unit="%", limit=99, measured=97, low=96, high=98)
    )
    assert poor is not None
    assert 60 < poor.low < poor.measured < poor.high
    assert gauge(measured.claim("errors", Outcome.PASS, unit="%", limit=0.0)) is None


def test_numbers_have_three_digits() -> None:
    """Numbers are given to three digits, percentages so that nearly all never reads as all."""
    thin = "\N{NARROW NO-BREAK SPACE}"
    assert [number(x) for x in (0, 0.1234, 9.999, 12.34, 123.4, 12345.6, None)] == [
        "0", "0.123", "10.0", "12.3", "123", f"12{thin}300", "∞",
    ]  # fmt: skip
    assert [share(x) for x in (0, 0.1, 4.56, 50, 99.983, 100)] == [
        "0", "0.1", "4.56", "50", "99.983", "100",
    ]  # fmt: skip


def test_intervals_say_which_bound_lacks() -> None:
    """An interval without a bound says so in words."""
    told = [(None, None), (1.0, None), (None, 2.0), (1.0, 2.0)]
    claims = [measured.claim("p99", Outcome.PASS, low=low, high=high) for low, high in told]
    assert [interval(claim) for claim in claims] == [
        "none", "1.00 or more", "up to 2.00", "1.00 to 2.00",
    ]  # fmt: skip


def test_moments_are_in_utc() -> None:
    """A moment is told in UTC; what is none is shown as it is."""
    assert moment("2026-11-25T12:00:00+02:00") == "2026-11-25 10:00:00 UTC"
    assert moment("noon") == "noon"
