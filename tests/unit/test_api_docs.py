"""The OpenAPI document as /docs shows it."""

from typing import Any

import pytest

from daemon.control.api_docs import models_of, operations_of, type_of


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string"}, "string"),
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"type": "string", "minLength": 1, "maxLength": 8192}, "string, 1 to 8,192 characters"),
        ({"type": "integer", "minimum": 1, "maximum": 500}, "integer, 1 to 500"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1000000}, "number, 0 to 1,000,000"),
        ({"enum": ["-created", "created"]}, "-created or created"),
        ({"const": True}, "true"),
        ({"anyOf": [{"$ref": "#/components/schemas/Row"}, {"type": "null"}]}, "Row or null"),
        ({"type": "array", "items": {"type": "string"}, "maxItems": 20}, "list of string, up to 20 items"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "object of integer"),
        ({}, "anything"),
    ],
)
def test_a_type_is_described_in_words(schema: dict[str, Any], text: str) -> None:
    assert "".join(part.text for part in type_of(schema)) == text


def test_get_comes_before_post_and_every_model_is_listed() -> None:
    answer = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Row"}}}, "description": "d"}
    operation = {
        "parameters": [],
        "responses": {200: answer, "default": answer},
        "summary": "s",
        "description": "\nmore",
    }
    limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 50}}
    document = {
        "paths": {
            "/b": {"post": operation, "get": {**operation, "parameters": [limit]}},
            "/a/{id}": {"get": operation},
        },
        "components": {"schemas": {"Row": {"properties": {"id": {"type": "string"}}, "required": ["id"]}}},
    }
    found = operations_of(document)
    assert [(one.method, one.path, one.anchor) for one in found] == [
        ("GET", "/a/{id}", "get-a-id"),
        ("GET", "/b", "get-b"),
        ("POST", "/b", "post-b"),
    ]
    assert (found[1].parameters[0].name, found[1].parameters[0].default) == ("limit", "50")
    assert [(answer.status, answer.type[0].schema) for answer in found[0].answers] == [("200", "Row")]
    [row] = models_of(document)
    assert (row.fields[0].name, row.fields[0].required) == ("id", True)
