"""Open the guardrail that a knowledge base's configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mindset.config.generation_options import Guardrails
from mindset.config.settings import Settings
from mindset.providers.opened import OpenedOnce

if TYPE_CHECKING:
    from mindset.guardrails.bedrock import BedrockGuardrail


class GuardrailRegistry:
    """Opens each guardrail once and shares it between knowledge bases. Thread-safe. Close it with `close`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened = OpenedOnce[tuple[str, str], "BedrockGuardrail"](self._open)

    def get(self, options: Guardrails) -> BedrockGuardrail | None:
        """Return the guardrail that the options name, or None if they name none."""
        if options.bedrock is None:
            return None
        return self._opened.get((options.bedrock, options.version))

    def close(self) -> None:
        """Close all opened guardrails."""
        self._opened.close()

    def _open(self, key: tuple[str, str]) -> BedrockGuardrail:
        from mindset.guardrails.bedrock import BedrockGuardrail  # importing boto3 takes half a second

        return BedrockGuardrail(*key, region=self._settings.bedrock_region, url=self._settings.bedrock_url)
