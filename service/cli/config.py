"""`lupine config`: the settings, as they are and as they are documented."""
# ruff: noqa: PLC0415 - `lupine --help` must answer at once, so commands import when they run

from __future__ import annotations

from typing import Any

import typer

from service.cli import screen

app = typer.Typer(no_args_is_help=True, help="Show and document the settings.")


@app.command()
def show(*, as_json: screen.AsJson = False) -> None:
    """Print every setting, its value and where that came from. Secrets are masked.

    For example:

    - `lupine config show`
    - `LUPINE_SERVER__PORT=8080 lupine config show`
    - `lupine config show --json | jq '."server.port"'`
    """
    from service import settings as settings_module
    from service.cli.effective import effective

    settings, origins = effective()
    found = {
        key: {"value": plain(settings_module.value(settings, key)), "origin": origins[key]}
        for key in settings_module.described()
    }
    if as_json:
        screen.as_json(found)
        return
    screen.table(
        ("setting", "value", "from"),
        ((key, _word(entry["value"]), str(entry["origin"])) for key, entry in found.items()),
    )


@app.command()
def docs() -> None:
    """Print the settings as Markdown: this makes docs/settings.md.

    For example:

    - `lupine config docs > docs/settings.md`
    """
    screen.write(markdown())


def markdown() -> str:
    """The text of docs/settings.md, out of the settings model."""
    from service import settings as settings_module

    rows = []
    for key, field in settings_module.described().items():
        default = _documented(field.default)
        rows.append(
            f"| `{key}` | `{settings_module.variable(key)}` | {default} | {field.description} |"
        )
    return _PAGE.format(rows="\n".join(rows))


_PAGE = """\
# Settings

<!-- Made by `lupine config docs` out of service/settings.py; a test compares the two. -->

`lupine.toml` in the working directory < environment < flags of `lupine serve`. An unknown key is
refused. `lupine config show` prints what is in effect and where each value came from. Sizes are
bytes, or written as `64MiB`.

| in `lupine.toml` | environment | default | |
|---|---|---|---|
{rows}

A key `section.key` stands in the table `[section]`:

```toml
[server]
port = 8080
```
"""


def plain(value: Any) -> str | int | float | bool | None:
    """A setting's value as JSON has it: a secret masked, a size in bytes, a path as text."""
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return str(value)  # asterisks, or nothing where none is set
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return value if isinstance(value, float) else str(value)


def _word(value: Any) -> str:
    return "" if value is None else str(value)


def _documented(default: Any) -> str:
    from pydantic import ByteSize

    if isinstance(default, ByteSize):
        return f"`{default.human_readable()}`"
    value = plain(default)
    if value is None or value == "":
        return "none"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
