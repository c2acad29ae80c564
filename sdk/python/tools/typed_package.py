"""Checks the types of the installed package: correct use passes strict mypy, wrong use does not.

python tools/typed_package.py FOLDER      # with a virtual environment FOLDER/venv
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RIGHT = """
from decimal import Decimal
from quotagate import AsyncClient, Client, Decision, rate_limit_headers

def use(client: Client) -> str | None:
    r = client.reserve("u_42", "image.render", Decimal("0.5"), {"size": "2k"})
    kept: int | Decimal | None = r.counters[0].remaining
    with client.reservation("u_42", "image.render") as work:
        work.use(kept, completion_tokens=3)
    for usage in client.watch_usage("u_42"):
        print(usage.plan_id)
    return r.reservation_id

async def use_async(client: AsyncClient) -> dict[str, str]:
    r: Decision = await client.reserve("u_42", "image.render")
    async for user in client.admin.users():
        print(user.user_id)
    return rate_limit_headers(r)

"""

WRONG = [
    'Client(api_key="k", on_unavailable="maybe")',
    'Client(api_key="k").reserve("u_42")',
    'len(Client(api_key="k").reserve("u_42", "e").allowed)',
    'Client(api_key="k").commit("r", outcome="fine")',
]


def mypy(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "use.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", "venv/bin/python", "use.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    right = mypy(folder, RIGHT)
    assert right.returncode == 0, right.stdout
    wrong = mypy(folder, "from quotagate import Client\n" + "\n".join(WRONG))
    lines = {line.split(":")[1] for line in wrong.stdout.splitlines() if ": error:" in line}
    assert lines == {str(number + 2) for number in range(len(WRONG))}, wrong.stdout
    print("typed")


if __name__ == "__main__":
    main()
