"""Test servers that speak the wire formats of NIM, Bedrock and others over real HTTP, with scripted faults."""

from tests.providers.faults import Fault, cut, drip, error_in_stream, garbage, hang, pause, queued, status
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
    "pause",
    "queued",
    "status",
]
