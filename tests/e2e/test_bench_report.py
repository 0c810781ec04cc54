"""A benchmark's report, opened in a real browser, and printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.verdict import Doubt
from tests import measured
from tests.browser import browser

_NAMES = ("digits, HTTP binary", "magika, gRPC", "x" * 60)
_DOUBT = Doubt(what="The generator was late.", advice="Give it a core of its own.")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with all that it can hold: failures, hostile texts, a doubt, a long name."""
    folder = tmp_path_factory.mktemp("report")
    found = measured.repetitions(_NAMES, 2, failing=_NAMES[1])
    told = [measured.passing(_NAMES[0]), measured.failing(_NAMES[1]), measured.passing(_NAMES[2])]
    report.write(folder, measured.document(measured.sla(_NAMES), found, told, [_DOUBT]), found)
    return folder / "report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 700, 1280])
async def test_the_page_fits(written: Path, tmp_path: Path, width: int, *, dark: bool) -> None:
    """On a phone and on a desk, light or dark, nothing is cut off or asked for elsewhere."""
    async with browser(tmp_path) as page:
        await page.open(written, width=width, dark=dark)
        widest = await page.value("document.documentElement.scrollWidth")
        assert widest <= await page.value("innerWidth")
        assert await page.value("document.querySelectorAll('svg.plot').length") == 3 * 6 + 2
        told = await page.value("getComputedStyle(document.querySelector('.word')).color")
        assert told not in {"rgb(0, 0, 0)", "rgb(255, 255, 255)"}  # the sheet passed the policy
        assert page.complaints == []
        assert page.requests == [written.as_uri()]


async def test_the_page_prints(written: Path, tmp_path: Path) -> None:
    """On paper it is a PDF of some pages, even out of a narrow window."""
    async with browser(tmp_path) as page:
        await page.open(written, width=360)
        pdf = await page.pdf()
        assert pdf.startswith(b"%PDF-")
        assert pdf.count(b"/Type /Page\n") >= 3
        assert page.complaints == []
