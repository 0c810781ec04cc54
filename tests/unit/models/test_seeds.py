"""What a model reaches from several seeds."""

from __future__ import annotations

from models import manifest, seeds
from models.specification import Build


class Lucky:
    """A model whose metric is a function of its seed."""

    SPEC = None

    def build(self, seed: int | None = None) -> Build:
        """A build that is nothing but its metric."""
        chosen = 10 if seed is None else seed
        return Build(
            onnx=b"", facts={"seed": chosen}, golden=list, metrics={"accuracy": chosen / 100}
        )


def test_the_report_has_mean_and_spread_of_each_seed() -> None:
    """Five seeds from its own on; the spread is the sample's standard deviation."""
    told: list[int] = []
    lucky = Lucky()
    report = seeds.report(lucky, lucky.build(), told=told.append)  # type: ignore[arg-type]
    assert report == {
        "accuracy": {
            "mean": 0.12,
            "spread": 0.0158,
            "by_seed": {"10": 0.1, "11": 0.11, "12": 0.12, "13": 0.13, "14": 0.14},
        }
    }
    assert told == [11, 12, 13, 14]


def test_what_has_no_metric_has_no_report() -> None:
    """Random or foreign weights reach nothing that a seed could change."""
    assert seeds.report(Lucky(), Build(onnx=b"", facts={}, golden=list)) is None  # type: ignore[arg-type]


def test_every_trained_model_has_five_seeds_on_record() -> None:
    """The manifests hold the report of what is trained, and the spread is small beside the mean."""
    for name in ("digits", "delivery_eta", "parcel_router"):
        for metric in manifest.load(name)["seeds"].values():
            assert len(metric["by_seed"]) == 5
            assert metric["spread"] < 0.1 * metric["mean"]
