"""An OpenAPI document as a person reads it: for /docs. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
METHODS = ("get", "post", "patch", "put", "delete")


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a type's description; `schema` is the name of the one that it refers to."""

    text: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """`fallback`: what it is where it is left out, as JSON-like text; None where that says nothing."""

    name: str
    type: tuple[Word, ...]
    required: bool
    fallback: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    type: tuple[Word, ...]
    description: str


@dataclass(frozen=True, slots=True)
class Operation:
    """`anchor` is its id in the page."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[Word, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    description: str
    fields: tuple[Field, ...]


def operations_of(document: Document) -> list[Operation]:
    """By path, and what looks before what changes."""
    found = []
    for path, methods in sorted(document["paths"].items()):
        for method in METHODS:
            if method in methods:
                found.append(_operation(path, method, methods[method]))
    return found


def models_of(document: Document) -> list[Model]:
    schemas = document["components"]["schemas"]
    return [Model(name, schema.get("description", ""), _fields(schema)) for name, schema in sorted(schemas.items())]


def type_of(schema: Mapping[str, Any]) -> Iterator[Word]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield Word(name, name)
    elif "enum" in schema:
        yield Word(" or ".join(map(_value, schema["enum"])))
    elif "const" in schema:
        yield Word(_value(schema["const"]))
    elif "anyOf" in schema:
        for place, part in enumerate(schema["anyOf"]):
            if place:
                yield Word(" or ")
            yield from type_of(part)
    elif schema.get("type") == "array":
        yield Word("list of ")
        yield from type_of(schema.get("items", {}))
        yield from _bounds(schema, "Items", "items")
    elif isinstance(schema.get("additionalProperties"), Mapping):
        yield Word("object of ")
        yield from type_of(schema["additionalProperties"])
    else:
        yield Word(schema.get("format", schema.get("type", "anything")))
        yield from _bounds(schema, "Length", "characters")
        yield from _range(schema)


def _operation(path: str, method: str, operation: Mapping[str, Any]) -> Operation:
    body = operation.get("requestBody", {}).get("content", {})
    return Operation(
        anchor=f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}",
        method=method.upper(),
        path=path,
        summary=operation.get("summary", ""),
        description=operation.get("description", "").strip(),
        parameters=tuple(
            _field(parameter["name"], parameter["schema"], bool(parameter.get("required")))
            for parameter in operation["parameters"]
        ),
        body=tuple(word for content in body.values() for word in type_of(content["schema"])),
        answers=tuple(
            _answer(str(status), answer) for status, answer in operation["responses"].items() if status != "default"
        ),
    )


def _answer(status: str, answer: Mapping[str, Any]) -> Answer:
    schema = answer["content"]["application/json"]["schema"]
    return Answer(status, tuple(type_of(schema)), answer.get("description", ""))


def _fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(_field(name, part, name in required) for name, part in schema.get("properties", {}).items())


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    fallback = _value(schema["default"]) if schema.get("default") is not None and not required else None
    return Field(name, tuple(type_of(schema)), required, fallback)


def _value(value: object) -> str:
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else str(value)


def _bounds(schema: Mapping[str, Any], of: str, unit: str) -> Iterator[Word]:
    least, most = schema.get(f"min{of}", 0), schema.get(f"max{of}")
    if most is not None:
        yield Word(f", {least} to {most:,} {unit}" if least else f", up to {most:,} {unit}")


def _range(schema: Mapping[str, Any]) -> Iterator[Word]:
    if "maximum" in schema:
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        yield Word(f", {least:g} to {schema['maximum']:,}" if least is not None else f", up to {schema['maximum']:,}")
