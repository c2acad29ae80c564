"""The recipes as programs, run as a reader runs them, and the examples of docstrings."""

from __future__ import annotations

import ast
import runpy
import textwrap
from pathlib import Path

import pytest

from tests.gateway import ADMIN_KEY, SDK, Sandbox, make_clients_patient

OUTPUT = {
    "image_fallback": """
        model_a: a lighthouse, take 1
        model_a: a lighthouse, take 2
        model_b: a lighthouse, take 3
        model_b: a lighthouse, take 4
        model_b: a lighthouse, take 5
        denied: All images used
        """,
    "streaming_llm": """
        whole answer: 200 tokens
        while it streams: 200 used, 4000 held
        stopped after 12: 212 used, 0 held
        """,
    "provider_fallback": """
        dear: an answer to 'one'
        dear: an answer to 'two'
        denied: Fallbacks
        recipe_requests 2 0
        recipe_fallbacks 2 0
        """,
    "payment_webhook": """
        forged: 401 recipe_free
        paid: 204 recipe_pro
        again: 204 recipe_pro
        canceled: 204 recipe_pro until its period ends
        """,
    "agent_run": """
        denied: Runs at a time
        recipe_agent_tokens 10500 used, 0 held
        recipe_agents_in_flight 0 used, 0 held
        """,
    "soft_caps": """
        matched 240.5 used, 0 over
        matched 540.5 used, 0 over
        matched 721.75 used, 121.75 over
        after the refund: 540.5 used, 0 over
        """,
    "usage_import": """
        line 7: invalid_request
        249 of 250 counted
        """,
}


@pytest.mark.parametrize("name", sorted(OUTPUT))
def test_recipe(
    sandbox: Sandbox, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("QUOTAGATE_URL", sandbox.gateway.url)
    monkeypatch.setenv("QUOTAGATE_KEY", sandbox.key)
    monkeypatch.setenv("QUOTAGATE_ADMIN_KEY", ADMIN_KEY)
    make_clients_patient(monkeypatch)

    runpy.run_module(f"examples.{name}", run_name="__main__")

    assert capfd.readouterr() == (textwrap.dedent(OUTPUT[name]).lstrip(), "")


def test_every_recipe_is_run_and_named_in_the_readme() -> None:
    readme = (SDK / "README.md").read_text()
    programs = {path.stem for path in (SDK / "examples").glob("*.py")} - {"__init__", "setup"}
    assert programs == set(OUTPUT)
    for name in programs:
        assert f"(examples/{name}.py)" in readme


def compiles(code: str) -> None:
    try:
        ast.parse(code)
    except SyntaxError:
        # Some examples contain return or await.
        ast.parse("async def _():\n" + textwrap.indent(code, "    "))


def public_methods(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text())
    return [
        member
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
        for member in node.body
        if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and not member.name.startswith("_")
    ]


@pytest.mark.parametrize("variant", ["_async", "_sync"])
def test_every_public_method_shows_an_example_that_compiles(variant: str) -> None:
    parts = [
        "metering",
        "accounts",
        "client",
        "admin_plans",
        "admin_users",
        "admin_access",
        "admin_policies",
        "admin_alerts",
    ]
    seen = 0
    for part in parts:
        for method in public_methods(SDK / "src" / "quotagate" / variant / f"{part}.py"):
            if any(isinstance(mark, ast.Name) and mark.id == "property" for mark in method.decorator_list):
                continue
            text = ast.get_docstring(method) or ""
            assert "Example::" in text, f"{part}.{method.name}"
            example = textwrap.dedent(text.split("Example::\n")[1])
            compiles(example)
            assert ("await " in example or "async " in example) <= (variant == "_async"), f"{part}.{method.name}"
            seen += 1
    assert seen > 55
