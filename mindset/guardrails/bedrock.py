"""A guardrail of Amazon Bedrock, asked about questions, passages and answers, whoever writes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mindset import bedrock
from mindset.deadline import Deadline

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime.type_defs import ApplyGuardrailResponseTypeDef

# Bedrock counts texts in units of 1,000 characters, 25 a request by default.
_MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Ruling:
    """What it says of a text: whether it stepped in, and what the text is then."""

    intervened: bool
    text: str
    policies: tuple[str, ...]


class BedrockGuardrail:
    """Thread-safe. Close it by `close`."""

    def __init__(self, id_: str, version: str, *, region: str = "us-east-1", url: str | None = None) -> None:
        self._id, self._version = id_, version
        self._client = bedrock.open_client(region, url, timeout_s=5.0, connections=16)

    def check(self, source: Literal["INPUT", "OUTPUT"], text: str, deadline: Deadline | None = None) -> Ruling:
        """Its ruling on a text, `INPUT` for what goes to a model. It is not asked any more once the deadline is over.

        Raises ProviderRejected or ProviderUnavailable: what could not be checked does not pass."""
        rulings = []
        for at in range(0, len(text), _MOST_CHARACTERS):
            if deadline:
                deadline.check(f"Guardrail {self._id}")
            rulings.append(self._ask(source, text[at : at + _MOST_CHARACTERS]))
        policies = tuple(sorted({each for ruling in rulings for each in ruling.policies}))
        return Ruling(any(each.intervened for each in rulings), "".join(each.text for each in rulings), policies)

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def _ask(self, source: Literal["INPUT", "OUTPUT"], text: str) -> Ruling:
        with bedrock.errors(f"guardrail {self._id}"):
            answer = self._client.apply_guardrail(
                guardrailIdentifier=self._id,
                guardrailVersion=self._version,
                source=source,
                content=[{"text": {"text": text}}],
            )
        if answer["action"] != "GUARDRAIL_INTERVENED":
            return Ruling(False, text, ())
        return Ruling(True, "".join(each["text"] for each in answer["outputs"]), _policies(answer))


def _policies(answer: ApplyGuardrailResponseTypeDef) -> tuple[str, ...]:
    """Names of the policies that were broken, such as `contentPolicy`."""
    return tuple(
        sorted({f"bedrock-{name}" for each in answer["assessments"] for name in each if name.endswith("Policy")})
    )
