"""Rankings."""

from __future__ import annotations

import json

from mindset.errors import ProviderUnavailable

# Searches at a time; more of them wait for a connection, within their deadlines.
CONNECTIONS = 32


def parse_ranking(who: str, raw: bytes, member: str, score: str, expected: int) -> list[int]:
    """Indexes by falling score, whatever order they came in; equal ones as they were asked for."""
    try:
        scored = [(-float(each[score]), int(each["index"])) for each in json.loads(raw)[member]]
    except (KeyError, TypeError, ValueError) as wrong:
        raise ProviderUnavailable(f"{who} gave something that is no ranking ({type(wrong).__name__}).") from wrong
    order = [index for _, index in sorted(scored)]
    if sorted(order) != list(range(expected)):
        raise ProviderUnavailable(f"{who} ranked {len(order)} passages, not each of the {expected} it was asked about.")
    return order
