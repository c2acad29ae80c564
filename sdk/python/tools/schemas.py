"""The schemas of an OpenAPI document as Python types.

An unknown construct becomes ``Any``, so that a new document never stops the generator.
"""

from __future__ import annotations

import json
import re
from typing import Any

Schema = dict[str, Any]

KEYWORDS = {
    "from",
    "in",
    "is",
    "not",
    "or",
    "and",
    "if",
    "else",
    "for",
    "with",
    "as",
    "class",
    "def",
    "pass",
    "global",
}


def snake(name: str) -> str:
    plain = re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found.group(1).lower(), name).lower()
    return plain + "_" if plain in KEYWORDS else plain


def is_list_page(name: str) -> bool:
    return name.startswith("ListView_")


class Schemas:
    def __init__(self, document: Schema) -> None:
        self.document = document
        self.all: dict[str, Schema] = dict(document["components"]["schemas"])
        self.by_content = {json.dumps(schema, sort_keys=True): name for name, schema in self.all.items()}

    def skip(self, name: str) -> None:
        self.all[name] = {}

    def target(self, schema: Schema) -> str | None:
        """The name of the schema that this one refers to or repeats, or None."""
        if "$ref" in schema:
            return str(schema["$ref"]).rsplit("/", 1)[1]
        name = (
            self.by_content.get(json.dumps(schema, sort_keys=True))
            if "properties" in schema or "allOf" in schema
            else None
        )
        return name

    def reachable(self, part: str) -> list[str]:
        """The sorted names of the schemas in bodies or answers."""
        found: set[str] = set()
        for path in self.document["paths"].values():
            for operation in path.values():
                self._collect(operation.get(part, {}) if isinstance(operation, dict) else {}, found)
        return sorted(name for name in found if not is_list_page(name))

    def _collect(self, node: Any, found: set[str]) -> None:
        if isinstance(node, list):
            for item in node:
                self._collect(item, found)
        elif isinstance(node, dict):
            name = self.target(node)
            if name is not None and name not in found:
                found.add(name)
                self._collect(self.document["components"]["schemas"][name], found)
            for item in node.values():
                self._collect(item, found)

    def as_object(self, name: str) -> Schema | None:
        """A schema's fields, with inherited ones; None if it is no object with known fields."""
        return self._merged(self.all[name])

    def _merged(self, schema: Schema) -> Schema | None:
        if "allOf" in schema:
            parts = [self._merged(self._resolved(part)) for part in schema["allOf"]]
            known = [part for part in parts if part is not None]
            if len(known) != len(parts):
                return None
            properties = {field: value for part in known for field, value in part["properties"].items()}
            required = [field for part in known for field in part.get("required", [])]
            return {"properties": properties, "required": required}
        return schema if schema.get("type") == "object" and schema.get("properties") else None

    def _resolved(self, schema: Schema) -> Schema:
        return self.all[str(schema["$ref"]).rsplit("/", 1)[1]] if "$ref" in schema else schema

    def _without_null(self, schema: Schema) -> Schema:
        if isinstance(schema.get("type"), list):
            kinds = [kind for kind in schema["type"] if kind != "null"]
            return {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}
        for word in ("oneOf", "anyOf"):
            if word in schema:
                rest = [part for part in schema[word] if part.get("type") != "null"]
                return rest[0] if len(rest) == 1 else {**schema, word: rest}
        return schema

    def nullable(self, schema: Schema) -> bool:
        kinds = schema.get("type")
        parts = schema.get("oneOf", []) + schema.get("anyOf", [])
        return (isinstance(kinds, list) and "null" in kinds) or any(part.get("type") == "null" for part in parts)

    def description(self, schema: Schema) -> str | None:
        return schema.get("description") or self._without_null(schema).get("description")

    def empty(self, schema: Schema) -> str | None:
        """The default of a list, map or flag."""
        kind = schema.get("type")
        if kind == "object" and "properties" not in schema:
            return "field(default_factory=dict)"
        return {"array": "()", "boolean": "False"}.get(str(kind))

    def model_type(self, schema: Schema) -> str:
        return self._type(schema, "Amount", "tuple[{}, ...]", "dict[str, {}]")

    def body_type(self, schema: Schema) -> str:
        return self._type(schema, "Number", "Sequence[{}]", "Mapping[str, {}]")

    def _type(self, schema: Schema, number: str, many: str, mapping: str) -> str:
        schema = self._without_null(schema)
        name = self.target(schema)
        if name is not None:
            target = self.all[name]
            if "enum" in target or self._merged(target) is not None:
                return name
            return self._type(target, number, many, mapping)
        parts = schema.get("oneOf") or schema.get("anyOf")
        if parts:
            kinds = [self._type(part, number, many, mapping) for part in parts]
            # Number already includes text.
            kinds = [kind for kind in kinds if not (kind == "str" and "Number" in kinds)]
            return "Any" if "Any" in kinds else " | ".join(dict.fromkeys(kinds))
        kind = schema.get("type")
        if kind == "string":
            return (
                "Literal[" + ", ".join(json.dumps(one) for one in schema["enum"]) + "]" if "enum" in schema else "str"
            )
        if kind == "array":
            return many.format(self._type(schema.get("items", {}), number, many, mapping))
        if kind == "object":
            values = schema.get("additionalProperties")
            if not isinstance(values, dict):
                return mapping.format("Any")
            value = self._type(values, number, many, mapping)
            return mapping.format(f"{value} | None" if self.nullable(values) and value != "Any" else value)
        return {"number": number, "integer": "int", "boolean": "bool"}.get(str(kind), "Any")

    def reader(self, schema: Schema) -> str:
        """The expression that reads a value."""
        schema = self._without_null(schema)
        name = self.target(schema)
        if name is not None:
            target = self.all[name]
            return f"{name}.from_json" if self._merged(target) is not None else self.reader(target)
        parts = schema.get("oneOf") or schema.get("anyOf")
        if parts:
            return "_json.one_of(" + ", ".join(self.reader(part) for part in parts) + ")"
        kind = schema.get("type")
        if kind == "array":
            return f"_json.list_of({self.reader(schema.get('items', {}))})"
        if kind == "object":
            values = schema.get("additionalProperties")
            if not isinstance(values, dict) or not values:
                return "_json.record"
            value = self.reader(values)
            return f"_json.map_of(_json.or_none({value}))" if self.nullable(values) else f"_json.map_of({value})"
        readers = {"string": "text", "number": "amount", "integer": "whole", "boolean": "flag"}
        return "_json." + readers.get(str(kind), "anything")
