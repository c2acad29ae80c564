"""The checked-in generated files match their sources."""

from __future__ import annotations

import copy
import json
import sys
import types
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import pytest

from quotagate import _json, models
from quotagate.models import CounterView, PlanView
from tools import generate_models, generate_sync

DOCUMENT: dict[str, Any] = json.loads(generate_models.OPENAPI.read_text())


def test_models_match_openapi() -> None:
    for path, text in generate_models.generate(DOCUMENT).items():
        assert path.read_text() == text, f"{path}: run tools/generate_models.py"


def test_the_synchronous_client_matches_the_asynchronous_one() -> None:
    texts = generate_sync.generate()
    assert len(texts) > 10
    for path, text in texts.items():
        assert path.read_text() == text, f"{path}: run tools/generate_sync.py"
        assert " await " not in text
    names = {path.name for path in texts} | generate_sync.BY_HAND
    assert {path.name for path in (generate_sync.PACKAGE / "_sync").glob("*.py")} == names


def test_the_generator_accepts_new_kinds_of_schemas() -> None:
    grown = copy.deepcopy(DOCUMENT)
    schemas = grown["components"]["schemas"]
    schemas["DecisionView"]["properties"]["degraded"] = {"type": "boolean"}
    schemas["DecisionView"]["properties"]["class"] = {"type": ["string", "null"], "enum": ["a", None]}
    schemas["Node"] = {
        "type": "object",
        "required": ["children", "odd", "when"],
        "properties": {
            "children": {"type": "array", "items": {"$ref": "#/components/schemas/Node"}},
            "odd": {"not": {"type": "string"}},
            "when": {"anyOf": [{"type": "integer"}, {"$ref": "#/components/schemas/Unit"}, {"type": "null"}]},
        },
    }
    schemas["DecisionView"]["properties"]["node"] = {"$ref": "#/components/schemas/Node"}
    first, second = (generate_models.generate(document) for document in (grown, copy.deepcopy(grown)))
    assert first == second
    text = first[generate_models.PACKAGE / "models.py"]
    module = types.ModuleType("quotagate.grown")
    sys.modules["quotagate.grown"] = module
    exec(compile(text, "grown.py", "exec"), module.__dict__)  # noqa: S102 - our own text
    node = module.Node.from_json({"children": [{"children": [], "odd": 1, "when": None}], "odd": {}, "when": "cents"})
    assert node.children[0].when is None
    assert node.when == "cents"
    assert node.to_json()["children"] == [{"children": [], "odd": 1, "when": None}]
    assert "class_" in text
    del sys.modules["quotagate.grown"]


def example(schema: Any, depth: int = 0) -> Any:
    """A value that a schema allows, with all its fields."""
    if not set(schema) - {"description"}:
        return "anything"
    if "$ref" in schema:
        return example(DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], depth + 1)
    if "allOf" in schema:
        return {name: value for part in schema["allOf"] for name, value in example(part, depth).items()}
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return example(schema[word][0], depth)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        given = {name: example(part, depth + 1) for name, part in schema.get("properties", {}).items()}
        values = schema.get("additionalProperties")
        return given or {"some": example(values, depth + 1) if isinstance(values, dict) and values else "text"}
    if kind == "array":
        return [example(schema["items"], depth + 1)]
    return {"string": "text", "integer": 7, "number": 7, "boolean": True}.get(str(kind))


KINDS = [kind for kind in vars(models).values() if is_dataclass(kind) and isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_model_reads_and_writes_every_field(kind: type[_json.Model]) -> None:
    given = example({"$ref": f"#/components/schemas/{kind.__name__}"})
    model = kind.from_json(_json.decode(json.dumps(given)))
    assert {field.name for field in fields(kind)} == {name for name, _, _ in kind._fields.values()}  # type: ignore[arg-type]
    sent = model.to_json()
    assert {name: value for name, value in given.items() if value is not None} == {
        name: value for name, value in sent.items() if value is not None
    }
    assert kind.from_json(sent) == model
    # Fields of a newer gateway are ignored.
    assert kind.from_json({**given, "newer": 1}) == model


def test_amounts_are_exact_and_missing_fields_are_refused() -> None:
    given = example({"$ref": "#/components/schemas/CounterView"})
    text = json.dumps({**given, "used": 0.1, "held": 0.2, "quota": 20.0, "remaining": None})
    counter = CounterView.from_json(_json.decode(text))
    assert counter.used + counter.held == Decimal("0.3")
    assert isinstance(counter.quota, int)
    assert counter.remaining is None
    for name, wrong in (("used", "7"), ("used", True), ("used", None), ("label", 7), ("scope", []), ("unit", 1)):
        with pytest.raises(ValueError, match=name):
            CounterView.from_json({**given, name: wrong})
    with pytest.raises(ValueError, match="not an object"):
        CounterView.from_json([])
    with pytest.raises(ValueError, match="missing"):
        PlanView.from_json({})
    for broken in ("{", "[" * 100_000, '{"a": NaN'):
        with pytest.raises(ValueError, match=r"JSON|deeply"):
            _json.decode(broken)
