from __future__ import annotations

import logging

import pytest

from service.frontends import grpc_log


def test_a_client_that_left_is_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Everything else that core has to say is."""
    grpc_log.install()
    grpc_log.install()
    core = logging.getLogger(grpc_log.LOGGER)
    assert len([f for f in core.filters if isinstance(f, grpc_log.ClientGone)]) == 1
    core.error("ExecuteBatchError raised in core by servicer method [%s]", "/a/b")
    core.error("Unexpected [%s] raised by servicer method [%s]", "KeyError", "/a/b")
    assert [record.args for record in caplog.records] == [("KeyError", "/a/b")]
