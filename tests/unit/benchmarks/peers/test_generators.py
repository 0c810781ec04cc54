from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from benchmarks.harness import wrk
from benchmarks.peers import h2load, k6
from benchmarks.peers.peer import Exchange
from benchmarks.peers.request import framed

WRK = """Running 4s test @ http://127.0.0.1:3000/v2/models/mlp/infer
  1 threads and 2000 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   310.20ms  201.00ms   1.90s    90.00%
    Req/Sec     6.42k   700.00     7.50k    70.00%
  Latency Distribution
     50%  271.33ms
     75%  300.01ms
     90%  455.10ms
     99%    1.25s 
  24000 requests in 4.00s, 10.10MB read
"""  # noqa: W291 - wrk pads a short unit
WRK_END = "Requests/sec:   6000.00\nTransfer/sec:      2.52MB\n"

H2LOAD = """starting benchmark...
finished in 2.00s, 14894.50 req/s, 1.88MB/s
requests: 30000 total, 29800 started, 29789 done, 29780 succeeded, 9 failed, 0 errored, 0 timeout
status codes: 29780 2xx, 0 3xx, 0 4xx, 9 5xx
traffic: 3.76MB (3941061) total, 132.18KB (135354) headers (space savings 96.28%), 4.23MB (DATA) data
                     min         max         mean         sd        +/- sd
time for request:     1.53ms     20.32ms      8.53ms      2.40ms    68.72%
"""  # noqa: E501 - as h2load prints it


def test_a_run_of_wrk_without_a_failure() -> None:
    """Rates are a second's, latencies milliseconds, whatever unit wrk chose."""
    load = wrk.parse(WRK + WRK_END)
    assert (load.rate, load.good_rate, load.p50, load.p99) == (6000, 6000, 271.33, 1250)
    assert (load.failed, load.answered, load.refused) == (0, 24000, 0)


def test_what_wrk_counts_as_answered_need_not_be_good() -> None:
    """Refused requests are no part of the good rate; those cut off never were of any."""
    told = "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
    told += "  Non-2xx or 3xx responses: 6000\n"
    load = wrk.parse(WRK + told + WRK_END)
    assert (load.rate, load.good_rate) == (6000, 4500)
    assert (load.failed, load.refused) == (6010, 6000)


def test_wrk_that_did_not_run() -> None:
    """No figures are no zero."""
    with pytest.raises(ValueError, match="no rate"):
        wrk.parse("unable to connect to 127.0.0.1:1 Connection refused\n")


def test_a_run_of_h2load() -> None:
    """Failures of HTTP/2 are taken off."""
    printed = h2load.parse(H2LOAD.replace("DATA", str(29780 * 149)))
    assert printed == h2load.Printed(14894.5, 29789, 9, 29780 * 149)
    load = h2load.judged(printed, [1.0, 2.0, 3.0], size=144)
    assert (load.failed, load.asked, load.p50) == (9, 29789, 2.0)
    assert load.rate == pytest.approx(14890.0, abs=0.1)


def test_a_call_that_fails_brings_no_message() -> None:
    """It is answered 200 even then; h2load counts it a success, the bytes do not."""
    printed = h2load.parse(H2LOAD.replace("DATA", str(20000 * 149)))
    assert h2load.judged(printed, [1.0], size=144).failed == 9789


def test_h2load_that_did_not_run() -> None:
    """No figures are no zero, and no latency is no figure."""
    with pytest.raises(ValueError, match="no figures"):
        h2load.parse("Could not connect\n")
    with pytest.raises(ValueError, match="no request"):
        h2load.judged(h2load.Printed(1.0, 1, 0, 149), [], size=144)


def test_latencies_in_the_log_of_h2load() -> None:
    """Microseconds there, milliseconds here."""
    log = "1795651950364472\t200\t3795\n1795651950364629\t200\t12000\n"
    assert h2load.times(log) == [3.795, 12.0]


def test_a_message_is_framed_as_grpc_has_it() -> None:
    """One byte for the compression, four for the length, the largest first."""
    assert framed(b"abc") == struct.pack(">BI", 0, 3) + b"abc"


def test_a_run_of_k6() -> None:
    """Good answers a second, prompt ones among them, and what was never sent."""
    metrics = {
        "http_reqs": {"count": 390, "rate": 97.5},
        "http_req_duration": {"med": 12.5, "p(99)": 80.25},
        "good": {"count": 380, "rate": 95.0},
        "prompt": {"count": 360, "rate": 90.0},
        "dropped_iterations": {"count": 10, "rate": 2.5},
    }
    load = k6.parse({"metrics": metrics}, 4.0)
    assert (load.rate, load.prompt_rate, load.p50, load.p99) == (95, 90, 12.5, 80.25)
    assert (load.failed, load.asked, load.unsent) == (10, 390, 10)


def test_k6_leaves_out_what_it_did_not_count() -> None:
    """A server that answers nothing has no latency, and no good answer."""
    load = k6.parse({"metrics": {"dropped_iterations": {"count": 400}}}, 4.0)
    assert (load.rate, load.prompt_rate, load.p50, load.p99, load.unsent) == (0, 0, None, None, 400)


def test_the_program_of_k6() -> None:
    """The rate, the address and the headers are in it; the body is read from beside it."""
    exchange = Exchange(
        path="/predict", body=b"", headers={"Content-Type": "a/b"}, read=lambda _, __: np.zeros(16)
    )
    text = k6.script("http://127.0.0.1:1", exchange, rate=1000, seconds=1.5)
    options = json.loads(text.partition("options = ")[2].partition(";\n")[0])
    load = options["scenarios"]["load"]
    assert (load["rate"], load["duration"], load["executor"]) == (
        1000,
        "1500ms",
        "constant-arrival-rate",
    )
    assert "http.post('http://127.0.0.1:1/predict', body" in text
    assert '"Content-Type": "a/b"' in text
    assert f"<= {k6.LIMIT_MS}" in text
