from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from benchmarks import place, sla_file, trace
from benchmarks import sla as slas
from benchmarks.quick import quick
from benchmarks.sla import Bursts, Limits, Poisson, SlaError, Step, Steps, Target, Trace

BENCHMARKS = Path(slas.__file__).parent
HEAD = '[[target]]\nname = "a"\nmodel = "digits"\n'
RATE = HEAD + "rate = 5\n"
LIMITS = "limits = { p99_ms = 5 }\n"
SECOND = LIMITS + RATE.replace('"a"', '"b"')


def written(folder: Path, text: str) -> Path:
    path = folder / "my-sla.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("zip = 1\n" + RATE + LIMITS, 1, ("zip: no such key", "title, seed, confidence")),
        (RATE + "\nspeed = 1\n" + LIMITS, 6, ("target.0.speed: no such key", "rate, users")),
        (
            RATE + SECOND + "limits = {\n",
            10,
            ("",),  # TOML 1.0 has no inline table of several lines
        ),
        (RATE + SECOND + "limits.p98_ms = 5", 10, ("target.1.limits.p98_ms", "p95_ms, p99_ms")),
        (RATE + "limits = { p99_ms = -5 }", 5, ("target.0.limits.p99_ms", "`float` > 0")),
        (RATE + "limits.p99_ms = 5\nlimits.error_ratio = 2", 6, ("limits.error_ratio", "<= 1")),
        (RATE + "[target.limits]\n\np99_ms = nan", 7, ("limits.p99_ms", "`float` > 0")),
        (RATE + 'limits = { p99_ms = "5" }', 5, ("limits.p99_ms", "got `str`")),
        (RATE + "users = 5\n" + LIMITS, 1, ("target.0", "'a' needs either rate or users")),
        (HEAD + LIMITS, 1, ("target.0", "'a' needs either rate or users")),
        (RATE + SECOND.replace('"b"', '"A"') + LIMITS, 7, ("target.1.name", "'A' too")),
        (RATE.replace('"a"', '"a "') + LIMITS, 2, ("target.0.name", "ends with a space")),
        (RATE.replace('"a"', '"a/b"') + LIMITS, 2, ("target.0.name", "matching regex")),
        (RATE.replace("digits", "dogs") + LIMITS, 3, ("target.0.model", "dogs.json", "no golden")),
        (RATE + LIMITS + 'payloads = "no.json"', 6, ("target.0.payloads", "no.json")),
        (
            HEAD + LIMITS + 'arrivals = { process = "trace", file = "no.txt" }',
            5,
            ("target.0.arrivals.file", "no.txt"),
        ),
        (
            RATE + LIMITS + 'arrivals = { process = "trace", file = "no.txt" }',
            4,
            ("target.0.rate", "neither rate nor users"),
        ),
        (
            RATE + "limits = { p50_ms = 9, p99_ms = 5 }",
            5,
            ("p50 may not be longer than p99", "9 >"),
        ),
        (RATE + "limits = { }", 5, ("target.0.limits", "'a' promises nothing: name a limit")),
        (RATE + "limits = { regression = 1.1 }", 5, ("target.0.limits", "promises nothing")),
        (RATE + "limits = { goodput_ratio = 0.9 }", 5, ("needs goodput_ms, or p99_ms",)),
        (RATE, 1, ("target.0: ", "missing required field `limits`")),
        ("[target]\nrate = 5", 1, ("target: ", "write [[target]]")),
        ("", 1, ("file: ", "missing required field `target`")),
        ("target = []", 1, ("target: ", "length >= 1")),
        (RATE + "limits = p99", 5, ("Invalid value",)),
        (RATE + LIMITS + 'wire = "rest"', 6, ("target.0.wire", "http-binary, http-json, grpc")),
        (
            RATE + LIMITS + 'arrivals = { process = "pareto" }',
            6,
            ("target.0.arrivals.process", "poisson, constant, bursts, steps, trace"),
        ),
        (
            RATE + LIMITS + 'arrivals = { process = "poisson", burst = 3 }',
            6,
            ("target.0.arrivals.burst: no such key; there are process",),
        ),
        (
            RATE + LIMITS + 'arrivals = { process = "bursts", on_seconds = 3, every_seconds = 2 }',
            6,
            ("target.0.arrivals.on_seconds", "at most every_seconds"),
        ),
        (
            RATE
            + LIMITS
            + 'arrivals = { process = "steps", steps = [\n  { seconds = 1, factr = 2 },\n] }',
            8,  # where the value that spans lines is complete
            ("target.0.arrivals.steps.0.factr: no such key; there are seconds, factor",),
        ),
        (
            RATE + LIMITS + 'arrivals.process = "steps"\narrivals.steps = [{seconds=1,factor=0}]',
            6,
            ("target.0.arrivals", "nothing would be sent"),
        ),
        ("seed = -1\n" + RATE + LIMITS, 1, ("seed: ", "`int` >= 0")),
        (RATE + LIMITS + "headers = { x = 1 }", 6, ("target.0.headers", "Expected `str`")),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    text: str, line: int, told: tuple[str, ...], tmp_path: Path
) -> None:
    """File, line, key, and what would be right."""
    path = written(tmp_path, text)
    with pytest.raises(SlaError) as refused:
        sla_file.load(path)
    message = str(refused.value)
    assert message.startswith(f"{path}:{line}: "), message
    for part in told:
        assert part in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Whether it is missing, no text, or JSON with an error in it."""
    with pytest.raises(SlaError, match=r"gone\.toml.*No such file"):
        sla_file.load(tmp_path / "gone.toml")
    path = tmp_path / "sla.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(SlaError, match=r"sla\.toml.*utf-8"):
        sla_file.load(path)
    with pytest.raises(SlaError, match=r"sla\.json:2: Expecting"):
        sla_file.parse('{"target":\n]', tmp_path / "sla.json")


def test_the_default_file_loads() -> None:
    """And all that it names is there."""
    found = sla_file.load(slas.DEFAULT)
    assert len(found.target) == 5
    assert {target.model for target in found.target} == {"digits", "magika", "parcel_router"}
    assert all(target.limits.p99_ms for target in found.target)


def test_a_program_may_write_json(tmp_path: Path) -> None:
    """What is written out of the types reads back the same, and has the same digest."""
    found = sla_file.load(slas.DEFAULT)
    path = tmp_path / "sla.json"
    path.write_bytes(msgspec.json.encode(found))
    again = sla_file.load(path)
    assert again == found
    assert slas.digest(again) == slas.digest(found)
    assert slas.digest(quick(found)) != slas.digest(found)


def document(text: str) -> Any:
    return msgspec.toml.decode(text)


def test_the_published_schema_is_that_of_the_types() -> None:
    """It takes the default file, and refuses what the types refuse."""
    published = json.loads((BENCHMARKS / "sla.schema.json").read_text())
    assert published == slas.schema()
    jsonschema.Draft202012Validator.check_schema(published)
    validator = jsonschema.Draft202012Validator(published)
    default = document((slas.DEFAULT).read_text())
    assert not list(validator.iter_errors(default))
    for broken in (
        RATE,
        RATE + LIMITS + "speed = 1",
        RATE + "limits = { p99_ms = -5 }",
        RATE + LIMITS + 'arrivals = { process = "pareto" }',
    ):
        assert list(validator.iter_errors(document(broken)))


def test_a_value_has_the_line_on_which_it_is_complete() -> None:
    """One that is missing has the line of the table that it belongs to."""
    text = "a = [\n 1,\n 2,\n]\n[b]\nc.d = 1\n"
    assert place.line(text, ["a", 1]) == 4
    assert place.line(text, ["b", "c", "d"]) == 6
    assert place.line(text, ["b", "x"]) == 5
    assert place.line(text, ["x"]) == 1
    assert place.dotted(["a", 0]) == "a.0"
    assert place.dotted([]) == "file"


def target(**changes: Any) -> Target:
    return msgspec.structs.replace(
        Target(name="a", model="digits", limits=Limits(p99_ms=5), rate=100), **changes
    )


def test_what_is_offered_follows_from_rate_or_users() -> None:
    """A trace decides by itself."""
    assert slas.offered(target()) == 100
    assert slas.offered(target(rate=None, users=50, think_seconds=10)) == 5
    assert slas.offered(target(rate=None, arrivals=Trace("x"))) is None


def test_there_are_connections_enough_for_the_heaviest_second() -> None:
    """A file's own number has the last word."""
    assert slas.connections(target()) == 100
    assert slas.connections(target(rate=1)) == 8
    assert slas.connections(target(rate=100_000)) == 256
    assert slas.connections(target(rate=None, users=3)) == 3
    assert slas.connections(target(connections=7)) == 7
    assert slas.connections(target(rate=20, arrivals=Bursts(1, 5))) == 100
    assert slas.connections(target(rate=20, arrivals=Steps((Step(1, 1), Step(1, 3))))) == 60


def test_another_rate_keeps_everything_but_the_process() -> None:
    """The connections too, which may have followed from the users."""
    found = slas.with_rate(target(rate=None, users=9, arrivals=Bursts(1, 2)), 33)
    assert (found.rate, found.users, found.connections) == (33, None, 9)
    assert found.arrivals == Poisson()
    assert found.limits == target().limits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1\nx\n", r"t\.txt:2: 'x' is no time"),
        ("1\n2\n\n1.5 # back\n", r"t\.txt:4: times .* ascend"),
        ("-1\n2\n", r"t\.txt:1: times .* not negative"),
        ("1\ninf\n", r"t\.txt:2: times are finite"),
        ("nan\n", r"t\.txt:1: times are finite"),
        ("1\n", r"t\.txt: .* two different times"),
        ("1\n1\n", r"t\.txt: .* two different times"),
        ("", r"t\.txt: .* two different times"),
        ("\xff", r"t\.txt: .*utf-8"),
    ],
)
def test_what_is_no_trace_is_refused(text: str, told: str, tmp_path: Path) -> None:
    """With the line."""
    path = tmp_path / "t.txt"
    path.write_text(text, "latin-1")
    with pytest.raises(SlaError, match=told):
        trace.read(path)


def test_a_trace_has_comments_and_lies_beside_the_sla(tmp_path: Path) -> None:
    """A target that has none is given nothing."""
    (tmp_path / "t.txt").write_text("# recorded\n0.5\n0.5 # twice\n\n2\n")
    path = tmp_path / "sla.toml"
    assert trace.of(target(rate=None, arrivals=Trace("t.txt")), path) == [0.5, 0.5, 2.0]
    assert trace.of(target(), path) == []
    with pytest.raises(SlaError, match=r"gone\.txt"):
        trace.read(tmp_path / "gone.txt")


def test_a_report_has_no_credentials() -> None:
    """The names of headers stay, their values do not."""
    asked = target(headers={"Authorization": "Bearer secret"})
    shown = slas.masked(slas.Sla(target=(asked,)))
    assert shown.target[0].headers == {"Authorization": "***"}
    assert b"secret" not in msgspec.json.encode(shown)
