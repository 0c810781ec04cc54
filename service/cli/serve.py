"""`lupine serve` and `lupine triton`: the processes that stay."""
# ruff: noqa: PLC0415 - `lupine --help` must answer at once, so commands import when they run

from __future__ import annotations

import os
from typing import Annotated, Literal

import typer

from service.cli.options import Repository
from service.errors import ConfigurationError


def serve(
    *,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="HTTP port.", show_default="3000")
    ] = None,
    grpc_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="gRPC port.", show_default="3001")
    ] = None,
    repository: Repository = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Gateway processes.",
            show_default="one a core for Triton, else one",
        ),
    ] = None,
    engine: Annotated[
        Literal["auto", "triton", "onnx", "echo"] | None,
        typer.Option(
            help="What runs the models; auto takes Triton where there is one.", show_default="auto"
        ),
    ] = None,
    triton_url: Annotated[
        str | None,
        typer.Option(
            help="gRPC of a Triton that runs elsewhere, instead of the managed one.",
            metavar="HOST:PORT[,...]",
        ),
    ] = None,
) -> None:
    """Serve the models of a repository over the Open Inference Protocol.

    Prints one line when it is ready. Flags win over the environment (`LUPINE_SERVER__PORT`), which
    wins over `lupine.toml`. Ctrl-C, or SIGTERM, drains: requests in flight are answered first.

    For example:

    - `lupine serve`
    - `lupine serve --port 8080 --grpc-port 8081 --workers 2 --repository /srv/models`
    - `lupine serve --triton-url triton-a:8001,triton-b:8001`
    - `lupine serve --engine onnx` without Triton
    """
    from service.cli.effective import effective
    from service.runner import entry, run_folder

    if triton_url and engine in ("onnx", "echo"):
        raise ConfigurationError(f"--triton-url contradicts --engine {engine}: drop one of them")
    settings, _ = effective(
        {
            "server.host": host,
            "server.port": port,
            "server.grpc_port": grpc_port,
            "server.workers": workers,
            "repository.path": repository,
            "engine.kind": engine,
            "triton.url": triton_url,
        }
    )
    entry.check(settings)
    entry.raise_open_files()
    folder = run_folder.prepare(settings)
    try:
        entry.become(entry.plan(settings, folder, os.environ))
    except BaseException:
        run_folder.abandon(folder)
        raise


def triton(
    *,
    repository: Repository = None,
    http_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Triton's HTTP.")] = 8000,
    grpc_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of Triton's gRPC.")] = 8001,
    metrics_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of Triton's /metrics.")
    ] = 8002,
) -> None:
    """Run the managed tritonserver alone, in the foreground, on loopback.

    Every model of the repository is loaded. Ctrl-C, or SIGTERM, stops it.

    For example:

    - `lupine triton`
    - `lupine triton --repository /srv/models --grpc-port 9001`
    """
    from service.cli.effective import effective
    from service.runner import entry, foreground, ports

    settings, _ = effective({"repository.path": repository})
    asked = {"--http-port": http_port, "--grpc-port": grpc_port, "--metrics-port": metrics_port}
    if len(set(asked.values())) < len(asked):
        raise ConfigurationError("--http-port, --grpc-port and --metrics-port must differ")
    entry.check_managed(settings)
    for flag, port in asked.items():
        ports.check_free("127.0.0.1", port, flag)
    raise typer.Exit(
        foreground.run(
            settings, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port
        )
    )
