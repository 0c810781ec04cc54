"""Whether a model is still what its sources say: by their contents, not by their dates.

A model's manifest holds the sha256 of each file that decides its bytes, and the versions of the
packages. What was cloned a minute ago is as fresh as what was trained a year ago, as long as these
are the same; so nothing retrains because a page of documentation changed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models import manifest
from models.specification import ModelSpec

ROOT = Path(__file__).parent.parent
PINS = "constraints.txt"


def sources(spec: ModelSpec, root: Path = ROOT) -> dict[str, str]:
    """The files that decide a model's bytes, by path from the project's root, with their sha256."""
    paths = sorted({f"models/{spec.name}.py", *spec.sources})
    return {path: manifest.sha256((root / path).read_bytes()) for path in paths}


def changes(known: Mapping[str, Any], root: Path = ROOT) -> list[str]:
    """What has changed since a manifest was written, a sentence each; nothing for a fresh model.

    Args:
        known: the manifest.
        root: of a checkout; packages count as `constraints.txt` pins them there.
    """
    found = []
    for path, digest in known["sources"].items():
        file = root / path
        if not file.is_file():
            found.append(f"{path} is gone")
        elif manifest.sha256(file.read_bytes()) != digest:
            found.append(f"{path} has changed")
    pinned = pins((root / PINS).read_text())
    for name, version in known["packages"].items():
        now = pinned.get(_canonical(name))
        if now != version:
            found.append(f"{name} {version} is pinned at {now or 'nothing'} now")
    return found


def pins(text: str) -> dict[str, str]:
    """The versions that a file of constraints pins, by the canonical name (PEP 503)."""
    pairs = (line.partition("==") for line in text.splitlines() if "==" in line)
    return {_canonical(name): version.strip() for name, _, version in pairs}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
