"""A guardrail of Amazon Bedrock, asked about questions, passages and answers, whoever writes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mindset.providers import bedrock_client
from mindset.providers.deadline import Deadline

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime.type_defs import ApplyGuardrailResponseTypeDef

# Bedrock counts texts in units of 1,000 characters, 25 a request by default.
_MOST_CHARACTERS = 20_000

# Texts that are checked at a time; more wait, and Bedrock's default quota is not far above.
_AT_A_TIME = 16


ContentSource = Literal["INPUT", "OUTPUT"]
"""`INPUT` is what goes to a model, `OUTPUT` what comes from it."""


@dataclass(frozen=True)
class GuardrailCheck:
    """What it says of a text: whether it stepped in, and what the text is then."""

    intervened: bool
    text: str
    policies: tuple[str, ...]


class BedrockGuardrail:
    """Thread-safe. Close it by `close`."""

    def __init__(self, id_: str, version: str, *, region: str = "us-east-1", url: str | None = None) -> None:
        self._id, self._version = id_, version
        self._client = bedrock_client.open_client(region, url, timeout_s=5.0, connections=2 * _AT_A_TIME)
        self._threads = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="guardrail")

    def check(self, source: ContentSource, text: str, deadline: Deadline | None = None) -> GuardrailCheck:
        """Its ruling on a text. It is not asked any more once the deadline is over.

        Raises ProviderRejected or ProviderUnavailable: what could not be checked does not pass."""
        rulings = []
        for at in range(0, len(text), _MOST_CHARACTERS):
            if deadline:
                deadline.check(f"Guardrail {self._id}")
            rulings.append(self._ask(source, text[at : at + _MOST_CHARACTERS]))
        policies = tuple(sorted({each for ruling in rulings for each in ruling.policies}))
        return GuardrailCheck(
            any(each.intervened for each in rulings), "".join(each.text for each in rulings), policies
        )

    def check_all(
        self, source: ContentSource, texts: Sequence[str], deadline: Deadline | None = None
    ) -> list[GuardrailCheck]:
        """As `check`, of several texts at the same time."""
        contexts = [copy_context() for _ in texts]  # so that each request is part of the trace that asked for it
        return list(
            self._threads.map(lambda context, text: context.run(self.check, source, text, deadline), contexts, texts)
        )

    def close(self) -> None:
        """End the threads, and give the connections back."""
        self._threads.shutdown(cancel_futures=True)
        self._client.close()

    def _ask(self, source: ContentSource, text: str) -> GuardrailCheck:
        with bedrock_client.translate_errors(f"guardrail {self._id}"):
            answer = self._client.apply_guardrail(
                guardrailIdentifier=self._id,
                guardrailVersion=self._version,
                source=source,
                content=[{"text": {"text": text}}],
            )
        if answer["action"] != "GUARDRAIL_INTERVENED":
            return GuardrailCheck(False, text, ())
        return GuardrailCheck(True, "".join(each["text"] for each in answer["outputs"]), _policies(answer))


def _policies(answer: ApplyGuardrailResponseTypeDef) -> tuple[str, ...]:
    """Names of the policies that were broken, such as `contentPolicy`."""
    return tuple(
        sorted({f"bedrock-{name}" for each in answer["assessments"] for name in each if name.endswith("Policy")})
    )
