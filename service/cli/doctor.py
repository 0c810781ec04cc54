"""`lupine doctor`: what is installed, what would serve, what is wrong and how to mend it."""
# ruff: noqa: PLC0415 - `lupine --help` must answer at once, so commands import when they run

from __future__ import annotations

import typer

from service.cli import screen


def doctor(*, as_json: screen.AsJson = False) -> None:
    """Look at this machine, the settings and the repository. Changes nothing.

    Exits with 1 where something is wrong that keeps the gateway from serving; a warning alone is
    none of that.

    For example:

    - `lupine doctor`
    - `lupine doctor --json | jq '.checks[] | select(.state != "ok")'`
    """
    from service.cli.effective import effective
    from service.errors import ConfigurationError
    from service.runner import doctor as checks
    from service.settings import Settings

    try:
        settings, _ = effective()
        found = [checks.Check(topic="settings", state=checks.State.OK, found="valid")]
    except ConfigurationError as error:
        # The rest is looked at with the defaults: better than nothing, and the verdict stands.
        settings = Settings()
        found = [
            checks.Check(
                topic="settings",
                state=checks.State.WRONG,
                found=error.message,
                mend="the checks below are of the defaults",
            )
        ]
    found += checks.examine(settings)
    well = all(check.state is not checks.State.WRONG for check in found)
    if as_json:
        screen.as_json({"ok": well, "checks": [checks.as_json(check) for check in found]})
    else:
        screen.table(
            ("", "", "found", "how to mend it"),
            ((check.state.value, check.topic, check.found, check.mend) for check in found),
        )
        screen.write("\n" + (_WELL if well else _UNWELL) + "\n")
    if not well:
        raise typer.Exit(1)


_WELL = "Nothing keeps `lupine serve` from serving."
_UNWELL = "`lupine serve` cannot serve like this: mend what is marked `wrong`."
