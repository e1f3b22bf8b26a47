"""Stand-ins for model providers: a real HTTP server that speaks as NIM and Bedrock do, and fails when told."""

from tests.providers.faults import Fault, cut, drip, error_in_stream, garbage, hang, queued, status
from tests.providers.handler import Request
from tests.providers.server import ProviderServer

__all__ = [
    "Fault",
    "ProviderServer",
    "Request",
    "cut",
    "drip",
    "error_in_stream",
    "garbage",
    "hang",
    "queued",
    "status",
]
