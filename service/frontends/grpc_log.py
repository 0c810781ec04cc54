"""What gRPC's core logs that is nobody's defect."""

from __future__ import annotations

import logging

LOGGER = "grpc._cython.cygrpc"
_GONE = "ExecuteBatchError raised in core"


class ClientGone(logging.Filter):
    """Drops the traceback that core logs for each answer whose client has left.

    Clients may leave as they like, thousands at a time, and the metrics count what they asked.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        return not record.getMessage().startswith(_GONE)


_FILTER = ClientGone()


def install() -> None:
    """From now on, in this process; a second call changes nothing."""
    logging.getLogger(LOGGER).addFilter(_FILTER)
