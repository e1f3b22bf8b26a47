"""Parse the responses of rerankers."""

from __future__ import annotations

import json

from mindset.errors import ProviderUnavailable

# Per reranker. Further searches wait for a connection, within their deadlines.
CONNECTIONS = 32


def parse_ranking(who: str, raw: bytes, member: str, score: str, expected: int) -> list[int]:
    """Return the indexes of a JSON response, highest score first. Ties keep the order of the request.

    `member` names the list of results and `score` the score of a result. Raises ProviderUnavailable unless each of the
    `expected` texts occurs once."""
    try:
        scored = [(-float(result[score]), int(result["index"])) for result in json.loads(raw)[member]]
    except (KeyError, TypeError, ValueError) as error:
        raise ProviderUnavailable(f"{who} returned an invalid ranking ({type(error).__name__}).") from error
    indexes = [index for _, index in sorted(scored)]
    if sorted(indexes) != list(range(expected)):
        raise ProviderUnavailable(
            f"{who} returned {len(indexes)} ranks that do not match the {expected} passages of the request."
        )
    return indexes
