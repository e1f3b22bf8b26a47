"""Everything that Product Mindset raises on purpose.

    MindsetError
    ├── ConfigurationError            a setting, a YAML file or a golden set is wrong
    ├── UnknownKnowledgeBase          nobody has defined a knowledge base of that name
    ├── UnknownVersion                the knowledge base has no such version, or it cannot be released
    ├── NothingReleased               the knowledge base exists, and no version of it is live
    ├── SourceUnavailable             the place that documents come from cannot be read
    ├── DocumentRejected              one document cannot be used; it is quarantined with this reason
    ├── UnknownDocument               no document stands at that URI
    ├── UnknownAnswer                 no answer of that id is in the answer log
    ├── UnknownNight                  Prefect has no run of that id
    ├── QuestionRejected              a question is empty, too long or malformed
    ├── RequestRejected               a filter, a cursor, a key or a header of a request is wrong
    ├── NotAuthenticated              who asks could not be told: no credentials, or none that count
    ├── NotAllowed                    who asks lacks the scope
    ├── TooManyRequests               a caller has used up the rate that it is given
    ├── Overloaded                    the service, or a model, has all the work that it takes on
    ├── ShuttingDown                  the process ends before the answer is whole
    ├── PreconditionFailed            what a request supposed to be so is not
    ├── BuildInProgress               another build of the same knowledge base holds the lock
    ├── LiveMoved                     the live release is not the one that a version was judged against
    ├── IndexDamaged                  a segment does not hold what Postgres says it holds
    ├── DimensionMismatch             a vector does not fit the segment or the model
    ├── ServiceUnavailable            Postgres, Chroma, Valkey or Prefect does not answer
    ├── ProviderError                 a model provider failed
    │   ├── ProviderRejected          it refused the request: retrying cannot help
    │   └── ProviderUnavailable       it throttled, timed out or broke: retrying may help
    └── StackError                    the local stack cannot start, or is not running

Every message names the input and ends in what to do about it.
"""

from __future__ import annotations


class MindsetError(Exception):
    """Base of all errors raised on purpose; its message is written for the person who has to act."""


class ConfigurationError(MindsetError):
    """A setting, a knowledge base's YAML or a golden set is wrong."""


class UnknownKnowledgeBase(MindsetError):
    """Nobody has defined a knowledge base of that name."""


class UnknownVersion(MindsetError):
    """The knowledge base has no such version, or the version's state forbids what was asked."""


class NothingReleased(MindsetError):
    """The knowledge base exists, and no version of it is live yet."""


class SourceUnavailable(MindsetError):
    """The place that documents come from cannot be read."""


class DocumentRejected(MindsetError):
    """One document cannot be used: it is quarantined with this message as its reason."""


class UnknownDocument(MindsetError):
    """No document stands at that URI."""


class UnknownAnswer(MindsetError):
    """No answer of that id is in the answer log."""


class UnknownNight(MindsetError):
    """Prefect has no run of that id."""


class QuestionRejected(MindsetError):
    """A question is empty, too long or malformed."""


class RequestRejected(MindsetError):
    """A filter, a cursor, an idempotency key or a header of a request is wrong."""


class NotAuthenticated(MindsetError):
    """Who asks could not be told: there are no credentials, or none that count."""


class NotAllowed(MindsetError):
    """Who asks is known and lacks the scope for it."""


class TooManyRequests(MindsetError):
    """A caller has used up the rate that it is given."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(MindsetError):
    """The service, or a model behind it, has all the work that it takes on; what is tried later may be taken."""

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ShuttingDown(MindsetError):
    """The process ends, and the answer could not be finished before; another one answers."""


class PreconditionFailed(MindsetError):
    """What a request supposed to be so, such as the release in its If-Match header, is not."""


class BuildInProgress(MindsetError):
    """Another build of the same knowledge base holds its lock."""


class LiveMoved(MindsetError):
    """The live release is no longer the one that the version was judged against."""


class IndexDamaged(MindsetError):
    """A segment does not hold what Postgres says it holds."""


class DimensionMismatch(MindsetError):
    """A vector's dimension does not fit the segment or the model."""


class ServiceUnavailable(MindsetError):
    """Postgres, Chroma, Valkey or Prefect does not answer."""


class ProviderError(MindsetError):
    """A model provider failed."""


class ProviderRejected(ProviderError):
    """The provider refused the request (bad input, missing access, unknown model): retrying cannot help."""


class ProviderUnavailable(ProviderError):
    """The provider throttled, timed out or broke: retrying may help."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StackError(MindsetError):
    """The local stack cannot start, or is not running."""
