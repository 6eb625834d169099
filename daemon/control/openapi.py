"""/openapi.json: what quart-schema reads from the routes, and what it cannot read there."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from quart import Quart
from quart_schema import OpenAPIProvider, QuartSchema
from quart_schema.validation import QUART_SCHEMA_QUERYSTRING_ATTRIBUTE
from werkzeug.routing.converters import BaseConverter, UUIDConverter
from werkzeug.routing.rules import Rule

from daemon.control.access import Tokens
from daemon.control.problems import CONTENT_TYPE, Problem

_, PROBLEM_MODELS = msgspec.json.schema_components([Problem], ref_template="#/components/schemas/{name}")


V = TypeVar("V", bound=Callable[..., object])


def returns_csv(view: V) -> V:
    """Marks a resource whose answer is text/csv. It is the topmost decorator below the route's."""
    view.returns_csv = True  # type: ignore[attr-defined]
    return view


def takes_text(view: V) -> V:
    """Marks a resource whose request is text. It is the topmost decorator below the route's."""
    view.takes_text = True  # type: ignore[attr-defined]
    return view


class ApiDescription(OpenAPIProvider):
    """Adds problem answers and the token to each operation, names each model, and makes query parameters non-null."""

    def __init__(self, tokens: Tokens, app: Quart, extension: QuartSchema) -> None:
        super().__init__(app, extension)
        self._tokens = tokens

    def schema(self) -> dict[str, Any]:
        schema = super().schema()
        models = schema["components"]["schemas"]
        schema["security"] = [{"token": []}] if self._tokens.are_wanted else []
        models.update(PROBLEM_MODELS)
        answer = {
            "description": "A problem (RFC 9457): the request is bad, not permitted, or too early",
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for operations in schema["paths"].values():
            for operation in operations.values():
                for message in (operation.get("requestBody", {}), *operation["responses"].values()):
                    for content in message.get("content", {}).values():
                        content["schema"] = _named(content["schema"], models)
                operation["responses"].setdefault("default", answer)
                if "requestBody" in operation:
                    operation["requestBody"]["required"] = True
        return schema

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        paths, models = super().build_paths(rule)
        query = getattr(self._app.view_functions[rule.endpoint], QUART_SCHEMA_QUERYSTRING_ATTRIBUTE, None)
        for operation in (operation for operations in paths.values() for operation in operations.values()):
            parts = (operation.get("description", "").strip(), (query and inspect.getdoc(query)) or "")
            operation["description"] = "\n\n".join(filter(None, parts))
            if getattr(self._app.view_functions[rule.endpoint], "takes_text", False):
                content = {"text/plain": {"schema": {"type": "string"}}}
                operation["requestBody"] = {"description": "The file", "content": content}
            if getattr(self._app.view_functions[rule.endpoint], "returns_csv", False):
                content = {"text/csv": {"schema": {"type": "string"}}}
                operation["responses"] = {"200": {"description": "Lines with a header", "content": content}}
        return paths, models

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        parameter: dict[str, Any] = super().build_path_parameter(name, converter)
        if isinstance(converter, UUIDConverter):
            parameter["schema"]["format"] = "uuid"
        return parameter

    def build_querystring_parameters(self, model: type[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        parameters, models = super().build_querystring_parameters(model)
        for parameter in parameters:
            schema = parameter["schema"]
            if "anyOf" in schema and schema.get("default", "") is None:
                [parameter["schema"]] = [part for part in schema["anyOf"] if part != {"type": "null"}]
        return parameters, models


def _named(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """A reference to the model in place of its schema, which goes to `models`."""
    name = schema.get("title")
    if not name or models.setdefault(name, schema) != schema:
        return schema
    return {"$ref": f"#/components/schemas/{name}"}
