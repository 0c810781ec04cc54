"""The `lupine` command: `main` is its entry point."""

from __future__ import annotations

from service.cli.app import main

__all__ = ["main"]
