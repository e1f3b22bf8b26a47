"""Open the guardrail that a knowledge base's configuration names."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from mindset.config.generation_options import Guardrails
from mindset.config.settings import Settings

if TYPE_CHECKING:
    from mindset.guardrails.bedrock import BedrockGuardrail


class GuardrailRegistry:
    """Opens each guardrail once and shares it between knowledge bases. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opened: dict[tuple[str, str], BedrockGuardrail] = {}

    def get(self, options: Guardrails) -> BedrockGuardrail | None:
        """Return the guardrail that the options name, or None if they name none."""
        if options.bedrock is None:
            return None
        key = (options.bedrock, options.version)
        with self._lock:
            if key not in self._opened:
                from mindset.guardrails.bedrock import BedrockGuardrail  # importing boto3 takes half a second

                region, url = self._settings.bedrock_region, self._settings.bedrock_url
                self._opened[key] = BedrockGuardrail(*key, region=region, url=url)
            return self._opened[key]

    def close(self) -> None:
        """Close all opened guardrails."""
        for guardrail in self._opened.values():
            guardrail.close()
