from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from subprocess import run

import pytest
from typer.testing import CliRunner

from service import settings
from service.cli import config
from service.cli.app import app
from service.cli.screen import size
from service.registry.state import Model, Published, Refusal, State, StateFolder

ROOT = Path(__file__).parents[3]
COMMANDS = [
    ["serve"],
    ["triton"],
    ["models"],
    ["models", "list"],
    ["models", "load"],
    ["models", "unload"],
    ["sync", "once"],
    ["sync", "watch"],
    ["sync", "status"],
    ["sync", "rollback"],
    ["doctor"],
    ["config", "show"],
    ["config", "docs"],
]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command in an empty folder, without any setting of the host."""
    monkeypatch.chdir(tmp_path)
    for key in settings.described():
        monkeypatch.delenv(settings.variable(key), raising=False)
    return CliRunner()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_examples(cli: CliRunner, command: list[str]) -> None:
    """Somebody who asks for help sees what to type."""
    result = cli.invoke(app, [*command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    if command != ["models"]:
        assert "For example:" in result.output
        assert f"lupine {' '.join(command)}" in result.output.split("For example:")[1]


def test_help_imports_nothing_heavy() -> None:
    """So it answers at once, on slow machines too."""
    heavy = ("pydantic", "httpx", "grpc", "tritonclient", "numpy", "onnxruntime", "bentoml")
    code = f"import sys, service.cli; print([name for name in {heavy!r} if name in sys.modules])"
    started = time.monotonic()
    done = run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert time.monotonic() - started < 5


def test_version_is_the_packages(cli: CliRunner) -> None:
    """One line, for bug reports."""
    result = cli.invoke(app, ["--version"])
    assert result.output.startswith("lupine 0.")


def test_config_show_tells_values_and_origins(cli: CliRunner, tmp_path: Path) -> None:
    """The file, the environment and the defaults, each where they count."""
    (tmp_path / "lupine.toml").write_text('[server]\nport = 3100\nmax_body_bytes = "1MiB"\n')
    result = cli.invoke(app, ["config", "show", "--json"], env={"LUPINE_ENGINE__KIND": "echo"})
    found = json.loads(result.output)
    assert found["server.port"] == {"value": 3100, "origin": "lupine.toml"}
    assert found["server.max_body_bytes"] == {"value": 1 << 20, "origin": "lupine.toml"}
    assert found["engine.kind"] == {"value": "echo", "origin": "environment LUPINE_ENGINE__KIND"}
    assert found["server.host"] == {"value": "127.0.0.1", "origin": "default"}
    assert list(found) == list(settings.described())


@pytest.mark.parametrize("flags", [[], ["--json"]], ids=["table", "json"])
def test_config_show_masks_secrets(cli: CliRunner, flags: list[str]) -> None:
    """Its output may go into a bug report."""
    result = cli.invoke(app, ["config", "show", *flags], env={"LUPINE_ADMIN_KEY": "hunter2"})
    assert "hunter2" not in result.output
    assert "****" in result.output


def test_config_show_of_a_terminal_names_every_setting(cli: CliRunner) -> None:
    """As a table, without cutting anything short."""
    result = cli.invoke(app, ["config", "show"])
    assert all(key in result.output for key in settings.described())


def test_the_settings_page_is_up_to_date() -> None:
    """`lupine config docs > docs/settings.md` makes it so."""
    assert (ROOT / "docs" / "settings.md").read_text() == config.markdown()


def test_the_settings_page_describes_every_setting() -> None:
    """With its variable, and in words."""
    page = config.markdown()
    for key, field in settings.described().items():
        assert f"| `{key}` | `{settings.variable(key)}` |" in page
        assert field.description


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_readable(count: int, words: str) -> None:
    """Not a row of digits."""
    assert size(count) == words


def test_sync_says_what_it_lacks(cli: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository, and a registry by name, before anything is asked."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    told = cli.invoke(app, ["sync", "once"]).exception
    assert "the model repository 'triton_repo' is no folder" in str(told)
    Path("triton_repo").mkdir()
    told = cli.invoke(app, ["sync", "once"]).exception
    assert "MLFLOW_TRACKING_URI names no registry" in str(told)
    told = cli.invoke(app, ["sync", "once"], env={"MLFLOW_TRACKING_URI": "file:///x"}).exception
    assert "MLFLOW_TRACKING_URI is 'file:///x'" in str(told)


def test_sync_status_shows_aliases_and_refusals(cli: CliRunner) -> None:
    """Nothing on the first day; then what each alias names, and why a version is not served."""
    assert cli.invoke(app, ["sync", "status"]).exit_code == 0
    published = Published(sha256="0" * 64, bytes=1, order=1)
    model = Model(versions={"1": published}, routes={"champion": "1"}, held={"champion": "2"})
    refusal = Refusal(reason="it has a model.py", tries=1, final=True)
    StateFolder(Path("triton_repo.sync")).write(
        State(models={"digits": model}, refused={"digits/3": refusal}, registry="it is away")
    )
    shown = cli.invoke(app, ["sync", "status"], env={"COLUMNS": "200"}).output
    assert "champion → 1" in shown
    assert "champion not to 2" in shown
    assert "digits/3 is refused: it has a model.py" in shown
    assert "the registry: it is away" in shown
    found = json.loads(cli.invoke(app, ["sync", "status", "--json"]).output)
    assert found["models"]["digits"]["routes"] == {"champion": "1"}
