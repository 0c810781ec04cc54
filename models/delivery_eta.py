"""`delivery_eta`: in how many minutes a parcel will be handed over.

Takes six columns, each FP32 [-1, 1] (`models.deliveries` says what they are), as they are: what
training did to them is part of the graph, so that no client has to repeat it. Gives `minutes`
FP32 [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from models.deliveries import COLUMNS, Deliveries, generate
from models.determinism import seed_everything
from models.export import PACKAGES, SOURCES, answers, export
from models.specification import Arrays, Build, Case, Kind, ModelSpec, TensorRT
from models.training import SOURCES as TRAINING
from models.training import fit
from service.protocol.datatypes import Datatype
from service.protocol.messages import TensorSpec

SPEC = ModelSpec(
    name="delivery_eta",
    kind=Kind.TRAINED,
    summary="in how many minutes a parcel will be handed over",
    inputs=tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=(-1, 1)) for name in COLUMNS),
    outputs=(TensorSpec(name="minutes", datatype=Datatype.FP32, shape=(-1, 1)),),
    max_batch_size=256,
    tolerance=1e-3,  # minutes
    golden_source="torch, the network that was exported",
    licence="Apache-2.0",
    slo_p99_ms=100,
    default_timeout_ms=5_000,
    packages=PACKAGES,
    sources=(*SOURCES, *TRAINING, "models/deliveries.py"),
    datasets=("deliveries",),
    tensorrt=TensorRT(optimal_rows=32, fp16_tolerance=1.0),
)

SEED = 5
EPOCHS = 24
_TRAINED_ON = 5_000
_HELD_OUT = 500
_BATCH = 64
_PEAK_RATE = 6e-3
_HIDDEN = 32
_HOURS = 24.0
_SATURDAY = 5.0


class Eta(nn.Module):
    """Preprocessing and a small network: six columns [n, 1] in, minutes [n, 1] out.

    The hour becomes an angle, so that 23 and 0 are neighbours, and the weekday becomes "is it a
    weekend"; all is brought to mean 0 and spread 1 of the training data.
    """

    def __init__(self, seen: Deliveries) -> None:
        super().__init__()
        prepared = self.prepare(*torch.from_numpy(seen.features).split(1, dim=1))
        self.register_buffer("middle", prepared.mean(dim=0))
        self.register_buffer("spread", prepared.std(dim=0))
        self.register_buffer("usual", torch.tensor(float(seen.minutes.mean())))
        self.register_buffer("range", torch.tensor(float(seen.minutes.std())))
        self.layers = nn.Sequential(
            nn.Linear(prepared.shape[1], _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, _HIDDEN),
            nn.ReLU(),
            nn.Linear(_HIDDEN, 1),
        )

    @staticmethod
    def prepare(  # noqa: PLR0917 - the columns are told apart by their places
        distance: torch.Tensor,
        stops: torch.Tensor,
        hour: torch.Tensor,
        weekday: torch.Tensor,
        rain: torch.Tensor,
        weight: torch.Tensor,
    ) -> torch.Tensor:
        """Columns [n, 1] to what the network sees, [n, 8], before it is scaled."""
        angle = hour * (2 * torch.pi / _HOURS)
        weekend = (weekday >= _SATURDAY).to(hour.dtype)
        seen = (distance, stops, angle.sin(), angle.cos(), (2 * angle).cos(), weekend, rain, weight)
        return torch.cat(seen, dim=1)

    def forward(  # noqa: PLR0917 - as it is exported: a tensor for each input, in order
        self,
        distance_km: torch.Tensor,
        stops: torch.Tensor,
        hour: torch.Tensor,
        weekday: torch.Tensor,
        rain_mm: torch.Tensor,
        weight_kg: torch.Tensor,
    ) -> torch.Tensor:
        """Minutes [n, 1]."""
        prepared = self.prepare(distance_km, stops, hour, weekday, rain_mm, weight_kg)
        scaled = (prepared - self.middle) / self.spread
        minutes: torch.Tensor = self.layers(scaled) * self.range + self.usual
        return minutes


def step(
    model: Eta, optimiser: torch.optim.Optimizer, features: torch.Tensor, minutes: torch.Tensor
) -> float:
    """One step down the gradient; gives the loss (Huber, of scaled minutes) from before it."""
    optimiser.zero_grad()
    given = model(*features.split(1, dim=1))
    loss = nn.functional.huber_loss(given / model.range, minutes / model.range, delta=0.5)
    loss.backward()
    optimiser.step()
    return float(loss.detach())


def train(seen: Deliveries, epochs: int = EPOCHS, seed: int = SEED) -> Eta:
    """Train a new network; the same arguments give the same weights, FP32."""
    return fit(
        lambda: Eta(seen),
        torch.from_numpy(seen.features),
        torch.from_numpy(seen.minutes).unsqueeze(1),
        step,
        seed=seed,
        epochs=epochs,
        batch=_BATCH,
        peak_rate=_PEAK_RATE,
    )


def columns(features: np.ndarray[Any, Any]) -> Arrays:
    """Features [n, 6] as the model takes them: six FP32 [n, 1]."""
    cast = features.astype(np.float32)
    return {name: cast[:, [at]] for at, name in enumerate(COLUMNS)}


def minutes_off(model: Eta, deliveries: Deliveries) -> float:
    """The mean absolute error, in minutes."""
    given = answers(model, SPEC, columns(deliveries.features))["minutes"][:, 0]
    return float(np.abs(given - deliveries.minutes).mean())


def build(seed: int | None = None) -> Build:
    """Generate, train, measure on deliveries of the same month, and export.

    Raises:
        ModelError: the export differs from the network.
    """
    chosen = SEED if seed is None else seed
    determinism = seed_everything(chosen)
    seen, unseen = generate(_TRAINED_ON, SEED), generate(_HELD_OUT, SEED + 1)
    model = train(seen, seed=chosen)
    return Build(
        onnx=export(model, SPEC, columns(unseen.features)),
        facts={
            "seed": chosen,
            "determinism": determinism,
            "training_deliveries": _TRAINED_ON,
            "held_out_deliveries": _HELD_OUT,
        },
        metrics={"mean_absolute_error_minutes": round(minutes_off(model, unseen), 3)},
        golden=lambda: _golden(model),
        held_out=lambda: Case(
            name="held-out deliveries",
            inputs=columns(unseen.features),
            outputs={"value": unseen.minutes.astype(np.float32)},
        ),
    )


def _golden(model: Eta) -> Sequence[Case]:
    cases = {
        "around the corner": [[1.0, 0, 11, 2, 0.0, 2.0]],
        "a long tour in the rush hour": [[25.0, 12, 8, 1, 0.0, 5.0]],
        "a Sunday": [[12.0, 4, 11, 6, 0.0, 3.0]],
        "a downpour": [[12.0, 6, 13, 3, 8.0, 3.0]],
        "a heavy parcel": [[8.0, 5, 14, 4, 0.0, 28.0]],
        "the last stop of the day": [[30.0, 24, 20, 2, 1.2, 1.0]],
        "three at once": [
            [5.0, 3, 10, 0, 0.0, 1.0],
            [15.0, 8, 17, 4, 2.0, 12.0],
            [9.5, 2, 12, 5, 0.0, 4.0],
        ],
    }
    golden = []
    for name, rows in cases.items():
        inputs = columns(np.array(rows))
        golden.append(Case(name=name, inputs=inputs, outputs=answers(model, SPEC, inputs)))
    return golden
