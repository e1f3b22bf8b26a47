"""Filters on documents: a small typed expression, and the condition on a revision that it becomes."""

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
"""Levels of an expression: a condition alone is one."""

MAX_CONDITIONS = 32
"""Conditions of an expression, whatever stands around them."""

# NUL stands in no text of Postgres. Lone surrogates, which no text holds either, pydantic refuses itself.
_Text = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
# Within what a float counts exactly: a number is refused rather than rounded.
_Integer = Annotated[int, Strict(), Field(ge=-(10**15), le=10**15)]
_Decimal = Annotated[float, Strict(), Field(ge=-1e15, le=1e15)]
_Value = Annotated[bool, Strict()] | _Integer | _Decimal | _Text

_Metadata = Annotated[
    str,
    Field(pattern=r"^metadata\.[^\x00]{1,100}$", description="`metadata.` and a key", examples=["metadata.updated"]),
]
_Any_field = Annotated[
    str,
    Field(
        pattern=r"^(uri|title|media_type|metadata\.[^\x00]{1,100})$",
        description="`uri`, `title`, `media_type`, or `metadata.` and a key",
        examples=["metadata.team"],
    ),
]

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2})?"


def _moment(text: str) -> str:
    """A day as it is, a moment in UTC: both as every supported Postgres reads them."""
    try:
        if len(text) == len("2026-01-31"):
            return datetime.fromisoformat(text).date().isoformat()
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no date. Write one such as 2026-01-31 or 2026-01-31T18:00:00Z.") from None
    return f"{moment:%H:%M:%S.%f}+00:00".join((f"{moment.date().isoformat()} ", ""))


_Moment = Annotated[str, Field(pattern=f"^{_DAY}([T ]{_CLOCK})?$", examples=["2026-01-31"]), AfterValidator(_moment)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)


class Equal(_Part):
    """Holds where the field, or one of the entries of its list, is the value, and of its type; `ne` where none is."""

    field: _Any_field
    op: Literal["eq", "ne"]
    value: _Value

    @model_validator(mode="after")
    def _comparable(self) -> Equal:
        _check_text(self.field, [self.value])
        return self


class OneOf(_Part):
    """Holds where the field, or one of the entries of its list, is one of the values."""

    field: _Any_field
    op: Literal["in"]
    value: tuple[_Value, ...] = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _comparable(self) -> OneOf:
        _check_text(self.field, self.value)
        return self


class Prefix(_Part):
    """Holds where the field begins so."""

    field: Literal["uri", "title"]
    op: Literal["prefix"]
    value: _Text


class Compare(_Part):
    """Holds where the field, or one of the entries of its list, is a number (or a date) and on this side of the value."""

    field: _Metadata
    op: Literal["lt", "lte", "gt", "gte"]
    value: _Integer | _Decimal | _Moment


class Exists(_Part):
    """Holds where the document has the key; with `false`, where it lacks it."""

    field: _Metadata
    op: Literal["exists"]
    value: Annotated[bool, Strict()] = True


class AllOf(_Part):
    """Holds where each of these does."""

    all: tuple[Filter, ...] = Field(min_length=1, max_length=MAX_CONDITIONS)


class AnyOf(_Part):
    """Holds where one of these does."""

    any: tuple[Filter, ...] = Field(min_length=1, max_length=MAX_CONDITIONS)


class Not(_Part):
    """Holds where this does not."""

    not_: Filter = Field(alias="not")


_KINDS: dict[str, type[_Part]] = {
    "eq": Equal, "ne": Equal, "in": OneOf, "prefix": Prefix, "lt": Compare, "lte": Compare, "gt": Compare,
    "gte": Compare, "exists": Exists, "all": AllOf, "any": AnyOf, "not": Not,
}  # fmt: skip


def _kind(raw: Any) -> str | None:
    """The name of the part's class, by its operator, else by its only key."""
    if isinstance(raw, _Part):
        return type(raw).__name__
    if not isinstance(raw, dict):
        return None
    word = raw.get("op", next((each for each in ("all", "any", "not") if each in raw), None))
    kind = _KINDS.get(word) if isinstance(word, str) else None
    return kind.__name__ if kind else None


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
        _kind,
        custom_error_type="no_condition",
        custom_error_message="write `field`, `op` (eq, ne, in, prefix, lt, lte, gt, gte, exists) and `value`, "
        "or one of `all`, `any` and `not`",
    ),
]
"""An expression over a document's fields; frozen, and equal where it says the same in the same order."""

AllOf.model_rebuild()
AnyOf.model_rebuild()
Not.model_rebuild()


def _bounded(raw: Any, validated: Callable[[Any], Any]) -> Any:
    """Refuse too much before it is looked at, and say where a fault is by a JSON pointer."""
    _check_size(raw)
    try:
        return validated(raw)
    except ValidationError as wrong:
        raise PydanticCustomError("filter", "{faults}", {"faults": _faults(wrong)}) from None


Where = Annotated[Filter, WrapValidator(_bounded)]
"""A filter as it is taken in from outside: bounded, its faults told by pointer."""

_where: TypeAdapter[Any] = TypeAdapter(Where)


def parse_filter(raw: Any) -> Filter:
    """A filter from plain JSON. Raises RequestRejected, naming where it is wrong."""
    try:
        return _where.validate_python(raw)  # type: ignore[no-any-return]
    except ValidationError as wrong:
        raise RequestRejected(f"The filter is wrong: {wrong.errors()[0]['msg']}") from None


def _check_size(raw: Any) -> None:
    conditions, level = 0, [raw]
    for depth in range(1, MAX_DEPTH + 2):
        if depth > MAX_DEPTH:
            raise PydanticCustomError("filter", f"nests more than {MAX_DEPTH} levels; flatten it")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict) and (inner := [each[key] for key in ("all", "any", "not") if key in each]):
                below += [part for parts in inner for part in (parts if isinstance(parts, list) else [parts])]
            else:
                conditions += 1
        if conditions + len(below) > MAX_CONDITIONS:
            raise PydanticCustomError(
                "filter", f"has more than {MAX_CONDITIONS} conditions; `in` takes up to 100 values"
            )
        if not below:
            return
        level = below


def _faults(wrong: ValidationError) -> str:
    """The first few, each by its pointer. Names of classes, which a union puts into locations, are no part of one."""
    classes = {each.__name__ for each in _KINDS.values()}
    told: dict[str, str] = {}
    for each in wrong.errors():
        path = [str(at) for at in each["loc"] if at not in classes]
        # What follows `value` is which of its types was tried.
        pointer = "/" + "/".join(path[: path.index("value") + 1] if "value" in path else path)
        told.setdefault(pointer, each["msg"].removeprefix("Value error, "))
    return "; ".join(f"{pointer}: {message}" for pointer, message in list(told.items())[:3])


def _check_text(name: str, values: Sequence[Any]) -> None:
    if not name.startswith("metadata.") and not all(isinstance(each, str) for each in values):
        raise ValueError(f"`{name}` is text: compare it with text")


@dataclass
class SqlCondition:
    """SQL over a revision named `f`, true or false and never null, and its parameters: no value stands in the SQL."""

    sql: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)

    def _value(self, value: Any) -> str:
        """The placeholder of one more parameter."""
        name = f"where_{len(self.parameters)}"
        self.parameters[name] = value
        return f"%({name})s"

    def _written(self, part: Any) -> str:  # noqa: PLR0911  # a line for each kind of part
        match part:
            case AllOf():
                return f"({' AND '.join(map(self._written, part.all))})"
            case AnyOf():
                return f"({' OR '.join(map(self._written, part.any))})"
            case Not():
                return f"NOT {self._written(part.not_)}"
            case Exists():
                return f"(f.metadata ? {self._key(part.field)}::text) = {self._value(part.value)}::bool"
            case Prefix():
                return f"starts_with({_COLUMNS[part.field]}, {self._value(part.value)}::text)"
            case Compare():
                return self._compared(part)
            case Equal():
                return f"{'NOT ' if part.op == 'ne' else ''}{self._among(part.field, [part.value])}"
            case OneOf():
                return self._among(part.field, part.value)
        raise AssertionError(f"unreachable: {part!r}")

    def _among(self, name: str, values: Sequence[Any]) -> str:
        if name in _COLUMNS:
            return f"{_COLUMNS[name]} = ANY({self._value(list(values))}::text[])"
        # A list contains each of its entries, and a plain value itself; what differs in type contains nothing.
        wanted = self._value([json.dumps(each, ensure_ascii=False) for each in values])
        return f"coalesce((f.metadata -> {self._key(name)}::text) @> ANY({wanted}::jsonb[]), false)"

    def _compared(self, part: Compare) -> str:
        key, sign = self._key(part.field), _SIGNS[part.op]
        value = self._value(json.dumps(part.value))
        bound = f"jsonb_build_object('bound', {value}::jsonb)"
        if isinstance(part.value, str):
            path = f"$[*] ? (@.datetime() {sign} $bound.datetime())"
            return f"coalesce(jsonb_path_exists_tz(f.metadata -> {key}::text, '{path}', {bound}, true), false)"
        # By its type: `lax` would take a text for no number anyway, and says so by an error that hides other entries.
        path = f'$[*] ? (@.type() == "number" && @ {sign} $bound)'
        return f"coalesce(jsonb_path_exists(f.metadata -> {key}::text, '{path}', {bound}, true), false)"

    def _key(self, name: str) -> str:
        return self._value(name.removeprefix("metadata."))


_COLUMNS = {"uri": "f.uri", "title": "f.title", "media_type": "f.media_type"}
_SIGNS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}


def sql_condition(where: Filter) -> SqlCondition:
    """The filter as a condition on a revision."""
    made = SqlCondition()
    made.sql = made._written(where)  # noqa: SLF001  # its own
    return made
