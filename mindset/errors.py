"""All errors that Product Mindset raises on purpose.

    MindsetError
    ├── ConfigurationError            a setting, a YAML file or a golden set is invalid
    ├── UnknownKnowledgeBase          no knowledge base of that name is defined
    ├── UnknownVersion                the knowledge base has no such version, or its state forbids the request
    ├── NothingReleased               the knowledge base exists, but no version of it is live
    ├── SourceUnavailable             a source of documents cannot be read
    ├── DocumentRejected              a document cannot be used; it is quarantined with this reason
    ├── UnknownDocument               no document has that URI
    ├── UnknownAnswer                 the answer log contains no answer of that id
    ├── UnknownRun                    Prefect has no run of that id
    ├── QuestionRejected              a question is empty, too long or malformed
    ├── RequestRejected               a filter, cursor, key or header of a request is invalid
    ├── NotAuthenticated              the request has no valid credentials
    ├── NotAllowed                    the caller lacks the required scope
    ├── TooManyRequests               the caller has exceeded its rate limit
    ├── Overloaded                    the service, or a model, has reached its limit of concurrent work
    ├── ShuttingDown                  the process ends before the answer is complete
    ├── PreconditionFailed            a precondition of the request does not hold
    ├── BuildInProgress               another build of the same knowledge base holds the lock
    ├── BuildTakenOver                another build took over while this one was still running
    ├── CopiedDatabase                the database is a copy that must not change the stores of its original
    ├── LiveReleaseChanged            the live release is not the one that a version was compared with
    ├── IndexDamaged                  a segment does not contain what Postgres says it contains
    ├── DimensionMismatch             a vector's dimension differs from the segment's or the model's
    ├── ServiceUnavailable            Postgres, Chroma, Valkey or Prefect is unreachable
    ├── ProviderError                 a model provider failed
    │   ├── ProviderRejected          it rejected the request: retrying cannot help
    │   └── ProviderUnavailable       it throttled, timed out or failed: retrying may help
    └── StackError                    the local stack cannot start, or is not running

Every message names the input and says what to do about it.
"""

from __future__ import annotations


class MindsetError(Exception):
    """Base of all errors raised on purpose. Its message is written for the person who has to act."""


class ConfigurationError(MindsetError):
    """A setting, a knowledge base's YAML or a golden set is invalid."""


class UnknownKnowledgeBase(MindsetError):
    """No knowledge base of that name is defined."""


class UnknownVersion(MindsetError):
    """The knowledge base has no such version, or the version's state forbids the request."""


class NothingReleased(MindsetError):
    """The knowledge base exists, but no version of it is live yet."""


class SourceUnavailable(MindsetError):
    """A source of documents cannot be read."""


class DocumentRejected(MindsetError):
    """A document cannot be used: it is quarantined with this message as its reason."""


class UnknownDocument(MindsetError):
    """No document has that URI."""


class UnknownAnswer(MindsetError):
    """The answer log contains no answer of that id."""


class UnknownRun(MindsetError):
    """Prefect has no run of that id."""


class QuestionRejected(MindsetError):
    """A question is empty, too long or malformed."""


class RequestRejected(MindsetError):
    """A filter, a cursor, an idempotency key or a header of a request is invalid."""


class NotAuthenticated(MindsetError):
    """The request has no valid credentials. `expired`: they are genuine and would be valid, had they not expired."""

    def __init__(self, message: str, *, expired: bool = False) -> None:
        super().__init__(message)
        self.expired = expired


class NotAllowed(MindsetError):
    """The caller is authenticated but lacks the required scope."""


class TooManyRequests(MindsetError):
    """The caller has exceeded its rate limit."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(MindsetError):
    """The service, or a model behind it, has reached its limit of concurrent work. A later request may succeed."""

    def __init__(self, message: str, retry_after_s: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ShuttingDown(MindsetError):
    """The process ends before the answer is complete. Another process can answer."""


class PreconditionFailed(MindsetError):
    """A precondition of the request, such as the release in its If-Match header, does not hold."""


class BuildInProgress(MindsetError):
    """Another build of the same knowledge base holds its lock."""


class BuildTakenOver(MindsetError):
    """Another build of the knowledge base took over while this one was still running. A retry cannot help."""


class CopiedDatabase(MindsetError):
    """The database is a copy of another installation's, and nobody has decided yet which id it has."""


class LiveReleaseChanged(MindsetError):
    """The live release is no longer the one that the version was compared with."""


class IndexDamaged(MindsetError):
    """A segment does not contain what Postgres says it contains."""


class DimensionMismatch(MindsetError):
    """A vector's dimension differs from the segment's or the model's."""


class ServiceUnavailable(MindsetError):
    """Postgres, Chroma, Valkey or Prefect is unreachable."""


class ProviderError(MindsetError):
    """A model provider failed."""


class ProviderRejected(ProviderError):
    """The provider rejected the request (bad input, missing access, unknown model): retrying cannot help.

    `for_input` is true if the reason may be the content of the request, such as a text that is too long."""

    def __init__(self, message: str, *, for_input: bool = False) -> None:
        super().__init__(message)
        self.for_input = for_input


class ProviderUnavailable(ProviderError):
    """The provider throttled, timed out or failed: retrying may help."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StackError(MindsetError):
    """The local stack cannot start, or is not running."""
