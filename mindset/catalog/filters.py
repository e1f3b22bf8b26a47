"""Filters on document fields: a typed expression and its translation to SQL.

The module is longer than 300 lines because the validation limits and the translation must cover the same operators."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Strict,
    Tag,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from mindset.errors import RequestRejected

MAX_DEPTH = 4
"""Maximum nesting of an expression; a single condition has depth 1."""

MAX_CONDITIONS = 32
"""Maximum number of conditions in an expression, at all levels together."""

# Postgres cannot store NUL. It cannot store lone surrogates either, but pydantic rejects those itself.
_Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
# The range in which a float represents every integer exactly, so that no number is rounded.
_Integer = Annotated[int, Strict(), Field(ge=-(10**15), le=10**15)]
_Decimal = Annotated[float, Strict(), Field(ge=-1e15, le=1e15)]
_Value = Annotated[bool, Strict()] | _Integer | _Decimal | _Text

_Metadata = Annotated[
    str,
    Field(pattern=r"^metadata\.[^\x00]{1,100}$", description="`metadata.` and a key", examples=["metadata.updated"]),
]
_AnyField = Annotated[
    str,
    Field(
        pattern=r"^(uri|title|media_type|metadata\.[^\x00]{1,100})$",
        description="`uri`, `title`, `media_type`, or `metadata.` and a key",
        examples=["metadata.team"],
    ),
]

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"


def _timestamp(text: str) -> str:
    """Return a date unchanged and a timestamp in UTC, in the format that every supported Postgres version parses."""
    try:
        if len(text) == len("2026-01-31"):
            return datetime.fromisoformat(text).date().isoformat()
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a date. Write one such as 2026-01-31 or 2026-01-31T18:00:00Z.") from None
    # Not `%Y`: glibc does not pad years before 1000.
    return f"{time.date().isoformat()} {time:%H:%M:%S.%f}+00:00"


_Timestamp = Annotated[
    str, Field(pattern=f"^{_DAY}([T ]{_TIME})?$", examples=["2026-01-31"]), AfterValidator(_timestamp)
]


class _Expression(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Equal(_Expression):
    """True if the field, or an entry of its list, equals the value and has its type; `ne` is the opposite."""

    field: _AnyField
    op: Literal["eq", "ne"]
    value: _Value

    @model_validator(mode="after")
    def _check_type(self) -> Equal:
        _check_text(self.field, [self.value])
        return self


class OneOf(_Expression):
    """True if the field, or an entry of its list, equals one of the values."""

    field: _AnyField
    op: Literal["in"]
    value: tuple[_Value, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _check_type(self) -> OneOf:
        _check_text(self.field, self.value)
        return self


class Prefix(_Expression):
    """True if the field starts with the value."""

    field: Literal["uri", "title"]
    op: Literal["prefix"]
    value: _Text


class Compare(_Expression):
    """True if the field, or an entry of its list, is a number (or a date) that is less or greater than the value."""

    field: _Metadata
    op: Literal["lt", "lte", "gt", "gte"]
    value: _Integer | _Decimal | _Timestamp


class Exists(_Expression):
    """True if the document has the key; with `false`, if it does not."""

    field: _Metadata
    op: Literal["exists"]
    value: Annotated[bool, Strict()] = True


class AllOf(_Expression):
    """True if all of these are."""

    all: tuple[Filter, ...] = Field(min_length=1, max_length=MAX_CONDITIONS)


class AnyOf(_Expression):
    """True if at least one of these is."""

    any: tuple[Filter, ...] = Field(min_length=1, max_length=MAX_CONDITIONS)


class Not(_Expression):
    """True if this is not."""

    not_: Filter = Field(alias="not")


_CLASSES: dict[str, type[_Expression]] = {
    "eq": Equal, "ne": Equal, "in": OneOf, "prefix": Prefix, "lt": Compare, "lte": Compare, "gt": Compare,
    "gte": Compare, "exists": Exists, "all": AllOf, "any": AnyOf, "not": Not,
}  # fmt: skip


def _class_name(raw: Any) -> str | None:
    """Select the class of an expression by its `op`, or by the key `all`, `any` or `not`."""
    if isinstance(raw, _Expression):
        return type(raw).__name__
    if not isinstance(raw, dict):
        return None
    operator = raw.get("op", next((key for key in ("all", "any", "not") if key in raw), None))
    expression = _CLASSES.get(operator) if isinstance(operator, str) else None
    return expression.__name__ if expression else None


Filter = Annotated[
    Annotated[Equal, Tag("Equal")]
    | Annotated[OneOf, Tag("OneOf")]
    | Annotated[Prefix, Tag("Prefix")]
    | Annotated[Compare, Tag("Compare")]
    | Annotated[Exists, Tag("Exists")]
    | Annotated[AllOf, Tag("AllOf")]
    | Annotated[AnyOf, Tag("AnyOf")]
    | Annotated[Not, Tag("Not")],
    Discriminator(
        _class_name,
        custom_error_type="no_condition",
        custom_error_message="write `field`, `op` (eq, ne, in, prefix, lt, lte, gt, gte, exists) and `value`, "
        "or one of `all`, `any` and `not`",
    ),
]
"""An expression over a document's fields; immutable. Two are equal if they have the same conditions in the same order."""

AllOf.model_rebuild()
AnyOf.model_rebuild()
Not.model_rebuild()


def _limit_size(raw: Any, validate: Callable[[Any], Any]) -> Any:
    """Reject a filter that is too large before validating it; name errors by JSON pointer."""
    _check_size(raw)
    try:
        return validate(raw)
    except ValidationError as error:
        raise PydanticCustomError("filter", "{errors}", {"errors": _describe(error)}) from None


Where = Annotated[Filter, WrapValidator(_limit_size)]
"""A filter in a request or configuration: limited in size, with errors named by JSON pointer."""

_where: TypeAdapter[Any] = TypeAdapter(Where)


def parse_filter(raw: Any) -> Filter:
    """Create a filter from decoded JSON. Raises RequestRejected with a JSON pointer to each error."""
    try:
        return _where.validate_python(raw)  # type: ignore[no-any-return]
    except ValidationError as error:
        raise RequestRejected(f"The filter is invalid: {error.errors()[0]['msg']}") from None


def _check_size(raw: Any) -> None:
    conditions, level = 0, [raw]
    for depth in range(1, MAX_DEPTH + 2):
        if depth > MAX_DEPTH:
            raise PydanticCustomError("filter", f"nests more than {MAX_DEPTH} levels; flatten it")
        next_level: list[Any] = []
        for raw_part in level:
            if isinstance(raw_part, dict) and (
                inner := [raw_part[key] for key in ("all", "any", "not") if key in raw_part]
            ):
                for value in inner:
                    next_level += value if isinstance(value, list) else [value]
            else:
                conditions += 1
        if conditions + len(next_level) > MAX_CONDITIONS:
            raise PydanticCustomError(
                "filter", f"has more than {MAX_CONDITIONS} conditions; `in` takes up to 100 values"
            )
        if not next_level:
            return
        level = next_level


def _describe(error: ValidationError) -> str:
    """Describe the first three errors, each with its JSON pointer."""
    # For a union, pydantic adds the class name to the location.
    classes = {class_.__name__ for class_ in _CLASSES.values()}
    messages: dict[str, str] = {}
    for raw in error.errors():
        path = [str(step) for step in raw["loc"] if step not in classes]
        # After `value`, pydantic adds the type that it tried.
        pointer = "/" + "/".join(path[: path.index("value") + 1] if "value" in path else path)
        messages.setdefault(pointer, raw["msg"].removeprefix("Value error, "))
    return "; ".join(f"{pointer}: {message}" for pointer, message in list(messages.items())[:3])


def _check_text(name: str, values: Sequence[Any]) -> None:
    if not name.startswith("metadata.") and not all(isinstance(value, str) for value in values):
        raise ValueError(f"`{name}` is text: compare it with text")


@dataclass
class SqlCondition:
    """SQL over a revision named `f` that is never null, and its parameters; the SQL itself contains no values."""

    sql: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def _value(self, value: Any) -> str:
        """Add a parameter and return its placeholder."""
        name = f"where_{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"

    def _to_sql(self, expression: Any) -> str:  # noqa: PLR0911  # one return per operator
        match expression:
            case AllOf():
                return f"({' AND '.join(map(self._to_sql, expression.all))})"
            case AnyOf():
                return f"({' OR '.join(map(self._to_sql, expression.any))})"
            case Not():
                return f"NOT {self._to_sql(expression.not_)}"
            case Exists():
                return f"(f.metadata ? {self._key(expression.field)}::text) = {self._value(expression.value)}::bool"
            case Prefix():
                return f"starts_with({_COLUMNS[expression.field]}, {self._value(expression.value)}::text)"
            case Compare():
                return self._comparison(expression)
            case Equal():
                return (
                    f"{'NOT ' if expression.op == 'ne' else ''}{self._equals_any(expression.field, [expression.value])}"
                )
            case OneOf():
                return self._equals_any(expression.field, expression.value)
        raise AssertionError(f"unreachable: {expression!r}")

    def _equals_any(self, name: str, values: Sequence[Any]) -> str:
        if name in _COLUMNS:
            return f"{_COLUMNS[name]} = ANY({self._value(list(values))}::text[])"
        # In jsonb a list contains each of its entries and a scalar itself; values of different types never match.
        wanted = self._value([json.dumps(value, ensure_ascii=False) for value in values])
        return f"coalesce((f.metadata -> {self._key(name)}::text) @> ANY({wanted}::jsonb[]), false)"

    def _comparison(self, expression: Compare) -> str:
        key, sign = self._key(expression.field), _SIGNS[expression.op]
        value = self._value(json.dumps(expression.value))
        bound = f"jsonb_build_object('bound', {value}::jsonb)"
        if isinstance(expression.value, str):
            path = f"$[*] ? (@.datetime() {sign} $bound.datetime())"
            return f"coalesce(jsonb_path_exists_tz(f.metadata -> {key}::text, '{path}', {bound}, true), false)"
        # Check the type first: comparing text with a number is an error that would also hide the other entries.
        path = f'$[*] ? (@.type() == "number" && @ {sign} $bound)'
        return f"coalesce(jsonb_path_exists(f.metadata -> {key}::text, '{path}', {bound}, true), false)"

    def _key(self, name: str) -> str:
        return self._value(name.removeprefix("metadata."))


_COLUMNS = {"uri": "f.uri", "title": "f.title", "media_type": "f.media_type"}
_SIGNS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def sql_condition(where: Filter) -> SqlCondition:
    """Translate a filter to a condition on a revision."""
    condition = SqlCondition()
    condition.sql = condition._to_sql(where)  # noqa: SLF001  # same module
    return condition
