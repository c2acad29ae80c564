"""Uses the installed package, as in an empty project, against a real gateway: reserve, commit, release, both clients.

This program must not import anything of this folder.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import tempfile
import uuid

import quotagate
import quotagate.asgi
import quotagate.openai
from quotagate import AsyncClient, Client, LimitReached

ADMIN_KEY = "ak_" + uuid.uuid4().hex


def begin(folder: str) -> tuple[subprocess.Popen[str], str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
    settings = {"QUOTAGATE_BIND": "127.0.0.1:0", "QUOTAGATE_DATA_DIR": folder, "QUOTAGATE_ADMIN_KEY": ADMIN_KEY}
    process = subprocess.Popen(
        [os.environ["QUOTAGATE_BIN"], "serve"],
        env={**kept, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    output = ""
    while "/api/v1/reserve " not in output:
        line = process.stdout.readline()
        assert line, f"the gateway ended before it was ready: {output}"
        output += line
    return process, next(word for word in output.split() if word.startswith("http://"))


def use(url: str) -> None:
    with Client(api_key=ADMIN_KEY, base_url=url) as operator:
        group = {"id": "images", "unit": "count", "quota": 3, "matches": [{"event": "image.*"}]}
        operator.admin.put_plan("free", {"periodType": "monthly", "periodAnchor": "calendar", "groups": [group]})
        key = operator.admin.create_key("secret", mode="test").key
    assert key is not None
    with Client(api_key=key, base_url=url) as client:
        client.upsert_subscription("u_42", "free")
        with client.reservation("u_42", "image.render"):
            pass
        client.release(client.reserve("u_42", "image.render"))
        asyncio.run(use_async(url, key))
        assert client.usage("u_42").counters[0].used == 3


async def use_async(url: str, key: str) -> None:
    async with AsyncClient(api_key=key, base_url=url) as client:
        await client.commit(await client.reserve("u_42", "image.render", 2))
        try:
            async with client.reservation("u_42", "image.render"):
                raise AssertionError("there is no room")
        except LimitReached as denied:
            left = denied.decision.denied_by[0].remaining
        assert left == 0


def main() -> None:
    assert "site-packages" in quotagate.__file__, quotagate.__file__
    with tempfile.TemporaryDirectory() as folder:
        process, url = begin(folder)
        try:
            use(url)
        finally:
            process.terminate()
            process.communicate(timeout=20)
    print("used from", os.path.dirname(quotagate.__file__))


if __name__ == "__main__":
    main()
