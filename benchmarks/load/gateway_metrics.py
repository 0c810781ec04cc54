"""What the gateway itself counted, between two looks at its `/metrics`."""

from __future__ import annotations

import http.client
import urllib.request
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

Scrape = dict[tuple[str, str, str], dict[str, float]]
"""(histogram, model, protocol) to edge (`le`) to cumulative count."""

_HISTOGRAMS = (
    "lupine_request_duration_seconds",
    "lupine_queue_duration_seconds",
    "lupine_batch_rows",
)
_SECONDS = 5.0


def fetch(url: str) -> str | None:
    """The text of a gateway's metrics; None where it shows none."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"{url}/metrics", timeout=_SECONDS) as answer:
            text: str = answer.read().decode()
    except (OSError, ValueError, http.client.HTTPException):  # another server than ours, or none
        return None
    return text


def histograms(text: str) -> Scrape:
    """The histograms that are of use; none where the text is no metrics.

    Of requests only those answered well count: they are what a client's latencies are of.
    """
    try:
        families = list(text_string_to_metric_families(text))
    except ValueError:
        return {}
    found: Scrape = defaultdict(lambda: defaultdict(float))
    for family in families:
        if family.name not in _HISTOGRAMS:
            continue
        for sample in family.samples:
            labels = sample.labels
            if sample.name.endswith("_bucket") and labels.get("code", "200") in ("200", "OK"):
                key = family.name, labels.get("model", ""), labels.get("protocol", "")
                found[key][labels["le"]] += sample.value
    return found


def between(
    before: Scrape, after: Scrape, histogram: str, model: str, protocol: str = ""
) -> dict[str, float]:
    """What a histogram counted between two looks: edge to cumulative count.

    Nothing where it counted down: the gateway was started anew between them.
    """
    key = histogram, model, protocol
    earlier = before.get(key, {})
    found = {edge: count - earlier.get(edge, 0.0) for edge, count in after.get(key, {}).items()}
    if any(count < 0 for count in found.values()):
        return {}
    return {_edge(edge): count for edge, count in found.items()}


def _edge(text: str) -> str:
    return "inf" if text == "+Inf" else text
