"""Publishing to a real MLflow server: exact bytes, aliases, and what its UI shows of five seeds."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.harness.gateway import LUPINE, ROOT
from benchmarks.harness.record import FOLDER, Evidence
from benchmarks.harness.registered import Registered
from benchmarks.harness.registry import registry

_MODELS = ("delivery_eta", "digits", "magika", "parcel_router", "resnet18", "silero_vad")
_SEEDS = 5
_SCREENSHOT = FOLDER / "publish.png"
_RENDER_MS = 25_000


def main() -> int:
    """Publish every model, read it back, look at the UI, print and record."""
    evidence = Evidence("publish", "MLflow 3.17.2, SQLite, proxied artifacts")
    with tempfile.TemporaryDirectory(prefix="lupine-publish-") as scratch:
        begun = time.monotonic()
        with registry(Path(scratch)) as url:
            evidence.add("MLflow's start", f"{time.monotonic() - begun:.0f} s")
            registered = Registered(url)
            for name in _MODELS:
                _publish(evidence, registered, name, _SEEDS if name == "delivery_eta" else 1)
            registered.close()
            _again(evidence, url)
            _look(evidence, url)
    return evidence.finish()


def _published(url: str, *arguments: str) -> tuple[dict[str, Any], float]:
    begun = time.monotonic()
    done = subprocess.run(
        [LUPINE, "publish", *arguments, "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MLFLOW_TRACKING_URI": url},
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, time.monotonic() - begun


def _publish(evidence: Evidence, registered: Registered, name: str, seeds: int) -> None:
    done, seconds = _published(registered.url, name, "--alias", "challenger", "--seeds", str(seeds))
    digest = hashlib.sha256(registered.content(name, done["version"])).hexdigest()
    whole = digest == done["sha256"]
    evidence.add(
        f"{name}: published ({seeds} seeds), and read back from the registry",
        f"version {done['version']}, {seconds:.0f} s, sha256 {digest[:12]}",
        "the exact bytes",
        holds=whole,
    )
    if not whole:
        evidence.fault(f"{name}: {done['sha256']} was published, {digest} is there")


def _again(evidence: Evidence, url: str) -> None:
    done, seconds = _published(url, "digits", "--alias", "champion")
    evidence.add(
        "digits: published again",
        f"version {done['version']}, new: {done['new']}, {seconds:.0f} s",
        "the alias alone moves",
        holds=done["version"] == "1" and not done["new"],
    )


def _look(evidence: Evidence, url: str) -> None:
    """A picture of the UI's comparison of the five seeds."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        asked = {"experiment_name": "lupine"}
        found = client.get("/api/2.0/mlflow/experiments/get-by-name", params=asked)
        experiment = found.raise_for_status().json()["experiment"]["experiment_id"]
        search = {
            "experiment_ids": [experiment],
            "filter": "params.model = 'delivery_eta'",
        }
        runs = client.post("/api/2.0/mlflow/runs/search", json=search).raise_for_status().json()
    ids = [run["info"]["run_id"] for run in runs["runs"]]
    evidence.add("delivery_eta: runs to compare", len(ids), str(_SEEDS), holds=len(ids) == _SEEDS)
    metrics = {
        run["info"]["run_name"]: {one["key"]: one["value"] for one in run["data"]["metrics"]}
        for run in runs["runs"]
    }
    evidence.raw["runs"] = metrics
    if shutil.which("chromium") is None:
        evidence.add("what MLflow's UI shows", "no chromium: `make system-deps` installs it")
        return
    quoted = "%5B" + ",".join(f"%22{one}%22" for one in ids) + "%5D"
    page = f"{url}/#/compare-runs?runs={quoted}&experiments=%5B%22{experiment}%22%5D"
    with tempfile.TemporaryDirectory(prefix="lupine-chromium-") as profile:
        subprocess.run(
            [
                "chromium",
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--disable-dev-shm-usage"),
                f"--user-data-dir={profile}",
                "--window-size=1300,900",
                f"--virtual-time-budget={_RENDER_MS}",
                f"--screenshot={_SCREENSHOT}",
                page,
            ],
            check=True,
            capture_output=True,
            timeout=180,
        )
    evidence.add("what MLflow's UI shows", f"docs/evidence/{_SCREENSHOT.name}")
    evidence.raw["screenshot sha256"] = hashlib.sha256(_SCREENSHOT.read_bytes()).hexdigest()
