"""Prepares the OpenAPI document for the page /docs: operations and models, with types in words. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]
METHODS = ("get", "post", "patch", "put", "delete")


@dataclass(frozen=True, slots=True)
class TypePart:
    """A part of a type's description. `schema`: the name of the model that the part links to."""

    text: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a model. `default`: as text; None if there is none, or null."""

    name: str
    type: tuple[TypePart, ...]
    required: bool
    default: str | None


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    type: tuple[TypePart, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """`anchor`: the id of its section in the page."""

    anchor: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[TypePart, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    description: str
    fields: tuple[Field, ...]


def operations_of(document: Document) -> list[Operation]:
    """Ordered by path, then by method: GET first."""
    paths = sorted(document["paths"].items())
    return [_operation(path, name, methods[name]) for path, methods in paths for name in METHODS if name in methods]


def models_of(document: Document) -> list[Model]:
    schemas = document["components"]["schemas"]
    return [Model(name, schema.get("description", ""), _fields(schema)) for name, schema in sorted(schemas.items())]


def type_of(schema: Mapping[str, Any]) -> Iterator[TypePart]:
    """The description of a JSON schema's type."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield TypePart(name, name)
    elif "enum" in schema:
        yield TypePart(" or ".join(map(_value, schema["enum"])))
    elif "const" in schema:
        yield TypePart(_value(schema["const"]))
    elif "anyOf" in schema:
        for number, choice in enumerate(schema["anyOf"]):
            if number:
                yield TypePart(" or ")
            yield from type_of(choice)
    elif schema.get("type") == "array":
        yield TypePart("list of ")
        yield from type_of(schema.get("items", {}))
        yield from _bounds(schema, "Items", "items")
    elif isinstance(schema.get("additionalProperties"), Mapping):
        yield TypePart("object of ")
        yield from type_of(schema["additionalProperties"])
    else:
        yield TypePart(schema.get("format", schema.get("type", "anything")))
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
            Answer(
                str(status),
                tuple(word for content in answer["content"].values() for word in type_of(content["schema"])),
            )
            for status, answer in operation["responses"].items()
            if status != "default"
        ),
    )


def _fields(schema: Mapping[str, Any]) -> tuple[Field, ...]:
    required = schema.get("required", ())
    return tuple(_field(name, part, name in required) for name, part in schema.get("properties", {}).items())


def _field(name: str, schema: Mapping[str, Any], required: bool) -> Field:
    default = None if required or schema.get("default") is None else _value(schema["default"])
    return Field(name, tuple(type_of(schema)), required, default)


def _value(value: object) -> str:
    """A constant as JSON writes it, strings without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _bounds(schema: Mapping[str, Any], of: str, unit: str) -> Iterator[TypePart]:
    minimum, maximum = schema.get(f"min{of}", 0), schema.get(f"max{of}")
    if maximum is not None:
        yield TypePart(f", {minimum} to {maximum:,} {unit}" if minimum else f", up to {maximum:,} {unit}")


def _range(schema: Mapping[str, Any]) -> Iterator[TypePart]:
    if "maximum" in schema:
        minimum, maximum = schema.get("minimum", schema.get("exclusiveMinimum")), schema["maximum"]
        yield TypePart(f", up to {maximum:,}" if minimum is None else f", {minimum:g} to {maximum:,}")
