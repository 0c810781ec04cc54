"""What an operator sees of the gateway: its metrics, and a line for each request."""

from service.telemetry.access_log import Access, AccessLog
from service.telemetry.metrics import Telemetry

__all__ = ["Access", "AccessLog", "Telemetry"]
