from __future__ import annotations

from html.parser import HTMLParser

from benchmarks.knee import Asked, Step, conclude
from benchmarks.report import capacity
from tests import measured


def step(rate: float, p99: float | None, *, sustained: bool, doubt: str = "") -> Step:
    return Step(
        rate=rate,
        answered=min(rate, 300.0),
        p50_ms=3.0,
        p99_ms=p99,
        failed=0 if p99 else 50,
        sustained=sustained,
        doubt=doubt,
        batch_rows=1.5,
        idle=0.2,
    )


class _Page(HTMLParser):
    """Counts elements, and gathers the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not any(name in ("src", "onclick", "style") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


ASKED = Asked(target="", users=2000, think_seconds=10, step_seconds=5)


def test_the_page_answers_the_question() -> None:
    """How much, how many replicas, what would give more; every load in a row, strangers escaped."""
    steps = [
        step(100, 10.0, sustained=True),
        step(250, 40.0, sustained=True),
        step(280, 140.0, sustained=False),
        step(400, None, sustained=False, doubt="<b>late</b>"),
    ]
    found = conclude("<i>digits</i>", 100, steps, ASKED, 256)
    text = capacity.render(found, measured.environment())
    page = _Page(text)
    told = " ".join(" ".join(page.words).split())
    assert found.answer in told
    assert "250 requests/s" in told
    assert "2,000 users at one request each 10 s (200 requests/s) need 2 replicas" in told
    assert "<b>late</b>" in told  # as a text
    assert "b" not in page.tags[page.tags.index("table") :]
    assert page.tags.count("svg") == 2
    assert page.tags.count("tr") == 1 + len(steps)
    assert "http://" not in text.replace(measured.environment().url, "")


def test_a_generator_that_gave_up_first_is_no_knee() -> None:
    """Then the rate is a lower bound, and the page says so."""
    steps = [step(100, 10.0, sustained=True), step(200, 12.0, sustained=False, doubt="it was late")]
    found = conclude("digits", 100, steps, ASKED, 0)
    text = capacity.render(found, measured.environment())
    assert "at least 100 requests/s" in text
    assert "it was late" in text
    assert 'class="verdict inconclusive"' in text
