from __future__ import annotations

from pathlib import Path

import pytest

from service import settings
from service.errors import ConfigurationError
from service.settings import Settings


def refusal(folder: Path, toml: str = "", **environment: str) -> str:
    (folder / settings.FILE).write_text(toml)
    with pytest.raises(ConfigurationError) as refused:
        settings.load(environment, folder)
    return refused.value.message


def test_without_a_file_or_variables_everything_is_its_default(tmp_path: Path) -> None:
    """And says so."""
    found, origins = settings.load({}, tmp_path)
    assert found == Settings()
    assert set(origins.values()) == {"default"}
    assert set(origins) == set(settings.described())


def test_the_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """Loopback alone, the ports of the documents, 75 s of keep-alive."""
    server = settings.load({}, tmp_path)[0].server
    assert (server.host, server.port, server.keep_alive_seconds) == ("127.0.0.1", 3000, 75)


def test_the_environment_stands_over_the_file_and_the_file_over_the_defaults(
    tmp_path: Path,
) -> None:
    """Each value names where it came from."""
    (tmp_path / "lupine.toml").write_text('[server]\nport = 3100\nhost = "::1"\n')
    found, origins = settings.load({"LUPINE_SERVER__PORT": "3200"}, tmp_path)
    assert (found.server.port, found.server.host, found.server.workers) == (3200, "::1", 0)
    assert origins["server.port"] == "environment LUPINE_SERVER__PORT"
    assert origins["server.host"] == "lupine.toml"
    assert origins["server.workers"] == "default"


def test_keys_outside_any_section_are_set_both_ways(tmp_path: Path) -> None:
    """By the file and by the environment."""
    (tmp_path / "lupine.toml").write_text('admin_key = "from the file"\n')
    assert settings.load({}, tmp_path)[0].admin_key.get_secret_value() == "from the file"
    found, _ = settings.load({"LUPINE_ADMIN_KEY": "from here"}, tmp_path)
    assert found.admin_key.get_secret_value() == "from here"


def test_sizes_are_bytes_or_words(tmp_path: Path) -> None:
    """`2GiB` is 2 GiB."""
    found, _ = settings.load({"LUPINE_SERVER__MAX_BODY_BYTES": "2GiB"}, tmp_path)
    assert found.server.max_body_bytes == 2 << 30


def test_other_programs_variables_are_left_alone(tmp_path: Path) -> None:
    """Only those that begin with LUPINE_ are ours."""
    assert settings.load({"SERVER__PORT": "1", "MY_LUPINE_X": "1"}, tmp_path)[0] == Settings()


@pytest.mark.parametrize(
    ("toml", "key"),
    [
        ("prot = 1", "prot"),
        ("[server]\nprot = 1", "server.prot"),
        ("[sever]\nport = 1", "sever"),
        ("[server.port]\nx = 1", "server.port"),
    ],
)
def test_an_unknown_key_of_the_file_is_refused_by_name(tmp_path: Path, toml: str, key: str) -> None:
    """A slip of the pen is no default."""
    text = refusal(tmp_path, toml)
    assert key in text
    assert "lupine.toml" in text


@pytest.mark.parametrize(
    "name",
    ["LUPINE_PROT", "LUPINE_SERVER__PROT", "LUPINE_SEVER__PORT", "LUPINE_SERVER_PORT",
     "LUPINE_SERVER", "LUPINE_SERVER__PORT__X", "LUPINE_"],
)  # fmt: skip
def test_an_unknown_variable_is_refused_by_name(tmp_path: Path, name: str) -> None:
    """With one underscore too few as well."""
    text = refusal(tmp_path, **{name: "1"})
    assert f"{name} is no setting" in text


def test_a_key_unknown_to_both_is_not_excused_by_the_file(tmp_path: Path) -> None:
    """Naming it twice does not make it a setting."""
    assert "prot" in refusal(tmp_path, "prot = 1", LUPINE_PROT="1")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LUPINE_SERVER__PORT", "65536"),
        ("LUPINE_SERVER__PORT", "http"),
        ("LUPINE_ENGINE__KIND", "tensorflow"),
        ("LUPINE_SERVER__KEEP_ALIVE_SECONDS", "0"),
        ("LUPINE_SERVER__KEEP_ALIVE_SECONDS", "inf"),
        ("LUPINE_SERVER__MAX_BODY_BYTES", "much"),
        ("LUPINE_SERVER__MAX_BODY_BYTES", "0"),
        ("LUPINE_SERVER__MAX_HEADER_BYTES", "-1"),
        ("LUPINE_BATCHING__IN_FLIGHT", "0"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_origin(
    tmp_path: Path, name: str, value: str
) -> None:
    """The key, the value, and the variable that set it."""
    text = refusal(tmp_path, **{name: value})
    key = name.removeprefix("LUPINE_").lower().replace("__", ".")
    assert f"{key} is '{value}'" in text
    assert f"(environment {name})" in text


def test_a_value_of_the_file_that_cannot_be_used_names_the_file(tmp_path: Path) -> None:
    """As its origin."""
    assert "server.port is 0 (lupine.toml)" in refusal(tmp_path, "[server]\nport = 0")


def test_every_bad_value_is_told_at_once(tmp_path: Path) -> None:
    """Nobody likes to be told one at a time."""
    text = refusal(tmp_path, "[server]\nport = 0", LUPINE_ENGINE__THREADS="0")
    assert "server.port" in text
    assert "engine.threads" in text


def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path: Path) -> None:
    """Line and column."""
    text = refusal(tmp_path, "[server\n")
    assert text.startswith("lupine.toml: ")
    assert "line 1" in text


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """By its name."""
    (tmp_path / "lupine.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"lupine\.toml"):
        settings.load({}, tmp_path)


def test_a_section_that_is_none_is_refused_with_the_right_form(tmp_path: Path) -> None:
    """With and without a variable inside it."""
    assert "server" in refusal(tmp_path, "server = 3")
    assert "[server]" in refusal(tmp_path, "server = 3", LUPINE_SERVER__PORT="1")


@pytest.mark.parametrize("toml", ["admin_key = 987654", "admin_key = [987654]",
                                  "[admin_key]\nx = 987654"])  # fmt: skip
def test_a_secret_never_shows_in_a_refusal(tmp_path: Path, toml: str) -> None:
    """Whatever is wrong with it."""
    text = refusal(tmp_path, toml)
    assert "admin_key" in text
    assert "987654" not in text


def test_a_secret_never_shows_in_the_settings_themselves(tmp_path: Path) -> None:
    """Whoever prints or logs them."""
    found, _ = settings.load({"LUPINE_ADMIN_KEY": "hush"}, tmp_path)
    assert "hush" not in f"{found!r} {found} {found.model_dump_json()}"


def test_settings_cannot_be_changed() -> None:
    """Every part of the gateway may rely on what it was given."""
    with pytest.raises(ValueError, match="frozen"):
        Settings().server.port = 1  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize("key", list(settings.described()))
def test_every_key_has_a_description_and_its_own_variable(key: str, tmp_path: Path) -> None:
    """The variable's name reads back as the key."""
    assert settings.described()[key].description
    value = settings.value(Settings(), key)
    text = "secret" if key == "admin_key" else str(tmp_path if value is None else value)
    _, origins = settings.load({settings.variable(key): text}, tmp_path)
    assert origins[key] == f"environment {settings.variable(key)}"


def test_what_is_exported_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    """Another process, anywhere, sees what this one does."""
    (tmp_path / "lupine.toml").write_text(
        'admin_key = "hush"\n[server]\nport = 3100\nmax_body_bytes = "3MB"\n'
    )
    found, _ = settings.load({"LUPINE_ENGINE__KIND": "echo"}, tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    again, _ = settings.load(settings.exported(found), elsewhere)
    assert again.model_dump() == found.model_dump()
    assert again.admin_key.get_secret_value() == "hush"
