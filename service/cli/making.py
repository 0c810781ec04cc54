"""`lupine export` and `lupine publish`: the models' own program, which no service imports."""

from __future__ import annotations

import typer

from service.cli.takeover import become

_FAILED = 1


def export(context: typer.Context) -> None:
    """Train or fetch models, export them to ONNX, prove them, write them into a repository.

    `lupine export --help` tells everything.
    """
    become(
        "export",
        "models",
        ["export", *context.args],
        needed=("models", "torch", "onnx"),
        extra="cpu,export",
        status=_FAILED,
    )


def publish(context: typer.Context) -> None:
    """Make a model, prove it, and register its exact bytes with MLflow.

    `lupine publish --help` tells everything.
    """
    become(
        "publish",
        "models",
        ["publish", *context.args],
        needed=("models", "torch", "onnx", "mlflow"),
        extra="cpu,export,registry",
        status=_FAILED,
    )
