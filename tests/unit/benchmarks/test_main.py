from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.__main__ import main


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--url", "127.0.0.1:3000"), "http://HOST:PORT is expected"),
        (("--grpc-url", "3001"), "HOST:PORT is expected"),
        (("--sla", "nowhere.toml"), "nowhere.toml"),
        (("--no-such-flag",), "No such option"),
        (("--out", "full"), "not empty"),
        (("--baseline", "full", "--out", "new"), "holds no report"),
        (("verify", "full"), "no report that can be verified"),
        (("--master", "--processes", "2"), "drop one"),
        (("capacity", "--target", "nobody"), "is none of the SLA's"),
    ],
)
def test_a_wrong_call_ends_with_status_3(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And one that names what was wrong."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["lupine bench", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 3, said
    assert told in " ".join(re.sub(r"[│╭╮╰╯─]", " ", said).split())
