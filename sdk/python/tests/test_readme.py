"""The README's examples: they pass strict type checks, and they run."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quotagate import AsyncClient, Client
from quotagate.errors import BY_REASON
from tests import readme_names
from tests.gateway import SDK, Sandbox, environment, group, plan
from tests.provider import Provider
from tests.waiting import DEADLINE

README = (SDK / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

PLAN = plan(
    group(40, event="image.*", onLimit={"fallback": {"event": "audio.transcribe"}}),
    group(9_000, event="llm.*", unit="tokens"),
    group(9_000, event="agent.run", unit="tokens"),
    group(100, event="audio.transcribe", unit="seconds", enforcement="soft"),
    group(None, event="api.call"),
)


def headline(block: str) -> str:
    """The last headline before a block."""
    return str(re.findall(r"^#+ (.+)$", README[: README.index(block)], re.MULTILINE)[-1])


def test_there_are_blocks_under_every_recipe() -> None:
    recipes = re.findall(r"^### (.+)$", README, re.MULTILINE)
    assert len(recipes) == 7
    assert set(recipes) <= {headline(block) for block in BLOCKS}


def test_every_block_passes_strict_type_checks(tmp_path: Path) -> None:
    names = "from tests.readme_names import *\n"
    files = []
    for number, block in enumerate(BLOCKS):
        files.append(tmp_path / f"block_{number}.py")
        files[-1].write_text(names + block)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "pyproject.toml", *map(str, files)]

    done = subprocess.run(command, cwd=SDK, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def world(sandbox: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The environment that the README describes, and the names of the reader's application."""
    sandbox.gateway.admin.admin.put_plan("readme", PLAN)
    client.upsert_subscription("u_42", "readme")
    provider = Provider()
    monkeypatch.setenv("QUOTAGATE_URL", sandbox.gateway.url)
    monkeypatch.setenv("QUOTAGATE_KEY", sandbox.key)
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    yield {**vars(readme_names), "client": client}
    provider.stop()


@pytest.mark.parametrize("block", BLOCKS, ids=headline)
def test_a_block_runs(block: str, world: dict[str, Any]) -> None:
    exec(compile(block, "README.md", "exec"), world)  # noqa: S102 - our own text


def test_the_recipes_do_what_they_say(client: Client, world: dict[str, Any]) -> None:
    for title in ("Image", "Streaming", "Several", "Agent"):
        block = next(block for block in BLOCKS if headline(block).startswith(title))
        exec(compile(block, "README.md", "exec"), world)  # noqa: S102 - our own text

    async def run_agent() -> None:
        async with AsyncClient() as asynchronous:
            await world["run"](asynchronous, "u_42", "one three seventeen")

    assert world["image"](client, "u_42", "image.render", "a boat") == "a boat by image.render"
    client.track("u_42", "image.render", 39)
    assert world["image"](client, "u_42", "image.render", "a boat") == "a boat by audio.transcribe"
    assert len(list(world["answer"](client, "u_42", "a boat"))) == 2
    assert world["chat"](client, "u_42", "a boat") == "a boat"
    asyncio.run(run_agent())

    used = [counter.used for counter in client.usage("u_42").counters]
    # 1 + 39 images, 5 tokens and 1 call, 17 tokens of the agent, 1 second.
    assert sorted(used) == [0, 1, 6, 17, 40]


def test_the_first_example_works_when_pasted(sandbox: Sandbox, client: Client) -> None:
    first = BLOCKS[0]
    assert len(first.rstrip().splitlines()) <= 5
    sandbox.gateway.admin.admin.put_plan("readme", PLAN)
    client.upsert_subscription("u_42", "readme")
    settings = environment(QUOTAGATE_URL=sandbox.gateway.url, QUOTAGATE_KEY=sandbox.key)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", first],
        env=settings,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "rendering an image, 39 left after it\n"
    assert client.usage("u_42", "image.render").counters[0].used == 1


def test_the_table_of_errors_is_complete() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", README, re.MULTILINE))
    assert rows == {kind.__name__: reason for reason, kind in BY_REASON.items()}
