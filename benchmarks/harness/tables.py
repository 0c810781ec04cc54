"""The tables of `docs/performance.md`, made from the records: it says what was measured.

A table stands between two markers, each a line of its own. Behind the topic's name may stand a
regular expression: of the record's figures, those whose name it matches.

    <!-- figures: first-table requests/s ÷ -->
    <!-- /figures -->
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_TABLE = re.compile(
    r"^<!-- figures: (?P<topic>[a-z-]+)(?: (?P<pick>[^\n]+))? -->\n.*?^<!-- /figures -->$",
    re.MULTILINE | re.DOTALL,
)
_MARKS = {None: "", True: "holds", False: "**missed**"}


def fill(page: str, folder: Path) -> str:
    """The page with its tables as the records have them.

    Args:
        page: Markdown.
        folder: of the records.

    Raises:
        FileNotFoundError: a topic has no record.
        ValueError: none of a record's figures is picked.
    """

    def table(found: re.Match[str]) -> str:
        topic, pick = found["topic"], found["pick"]
        head = found[0].partition("\n")[0]
        record = json.loads((folder / f"{topic}.json").read_text())
        return "\n".join([head, *_rows(record, pick or "", topic), "<!-- /figures -->"])

    return _TABLE.sub(table, page)


def topics(page: str) -> set[str]:
    """Those that the page has tables of."""
    return {found["topic"] for found in _TABLE.finditer(page)}


def _rows(record: Mapping[str, Any], pick: str, topic: str) -> Iterator[str]:
    figures = [figure for figure in record["figures"] if re.search(pick, figure["name"])]
    if not figures:
        raise ValueError(f"no figure of {topic} is called anything like {pick!r}")
    judged = any(figure["target"] for figure in figures)
    yield "| | measured | must | |" if judged else "| | measured |"
    yield "|---|---|---|---|" if judged else "|---|---|"
    for figure in figures:
        cells = [figure["name"], figure["measured"].replace("\n", "<br>")]
        if judged:
            cells += [figure["target"], _MARKS[figure["holds"]]]
        yield f"| {' | '.join(cells)} |"
