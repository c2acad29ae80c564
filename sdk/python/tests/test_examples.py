"""The recipes as programs, as a reader would run them, and what the README shows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.gateway import ADMIN_KEY, SDK, Sandbox, environment, group, plan, unique
from tests.waiting import DEADLINE

TOLD = {
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


def run(sandbox: Sandbox, *arguments: str) -> str:
    settings = environment(QUOTAGATE_URL=sandbox.gateway.url, QG_KEY=sandbox.key, QG_ADMIN=ADMIN_KEY)
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=SDK,
        env=settings,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", sorted(TOLD))
def test_recipe(sandbox: Sandbox, name: str) -> None:
    assert run(sandbox, "-W", "error", "-m", f"examples.{name}") == textwrap.dedent(TOLD[name]).lstrip()


def test_every_recipe_is_run_and_named_in_the_readme() -> None:
    readme = (SDK / "README.md").read_text()
    programs = {path.stem for path in (SDK / "examples").glob("*.py")} - {"__init__", "setup"}
    assert programs == set(TOLD)
    for name in programs:
        assert f"(examples/{name}.py)" in readme


def blocks(readme: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", readme, re.DOTALL)


def test_the_five_lines_of_the_readme(sandbox: Sandbox) -> None:
    first = blocks((SDK / "README.md").read_text())[0]
    assert len(list(filter(str.strip, first.splitlines()))) <= 5
    sandbox.gateway.admin.admin.put_plan("readme", plan(group(20, event="image.*")))
    user = unique("u_")
    with sandbox.client() as client:
        client.upsert_subscription(user, "readme")
        program = 'def render(prompt): return "an image"\n' + first.replace('"u_42"', repr(user))
        run(sandbox, "-c", program)
        assert client.usage(user).counters[0].used == 1


def compiles(code: str) -> None:
    try:
        ast.parse(code)
    except SyntaxError:
        # return and await stand in functions.
        ast.parse("async def _():\n" + textwrap.indent(code, "    "))


def test_every_block_of_the_readme_compiles() -> None:
    found = blocks((SDK / "README.md").read_text())
    assert len(found) >= 8
    for block in found:
        compiles(block)


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
