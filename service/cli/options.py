"""Options that several commands have, each once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Repository = Annotated[
    Path | None,
    typer.Option(
        "--repository", help="The model repository.", show_default="triton_repo", metavar="FOLDER"
    ),
]
