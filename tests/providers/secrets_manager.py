"""AWS Secrets Manager: GetSecretValue in its JSON protocol."""

from __future__ import annotations

import json
from typing import Any

from tests.providers.reply import Reply


def reply(body: dict[str, Any], secrets: dict[str, str]) -> Reply:
    """Return the response to a POST; `secrets` maps names to values."""
    name = body["SecretId"]
    if name not in secrets:
        fault = {"__type": "ResourceNotFoundException", "Message": "Secrets Manager can't find the specified secret."}
        return _json(fault, 400)
    return _json(
        {"ARN": f"arn:aws:secretsmanager:eu-west-1:1:secret:{name}", "Name": name, "SecretString": secrets[name]}
    )


def _json(body: object, status: int = 200) -> Reply:
    return Reply((json.dumps(body).encode(),), content_type="application/x-amz-json-1.1", status=status)
