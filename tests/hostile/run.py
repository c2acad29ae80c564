"""Sends every operation of the API document what it asks for and what it does not, and judges each answer by the document.

Starts a gateway of its own. It ends after `HOSTILE_SECONDS`, however slow the machine; `SEED` repeats a run.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parent.parent / "docs/openapi.json"
ADMIN_KEY = "ak_" + secrets.token_hex(16)
#: What no document can promise: a schema does not say all that a plan must be, so some of what fits it is refused.
#: Wrong keys are answered ever more slowly, and `the_matrix_of_keys_is_complete` (tests/api) tries them all.
LEFT_OUT = "positive_data_acceptance,ignored_auth"
#: Each answer, on a busy machine.
MOST_SECONDS = "10"
#: Each is a process with a share of the paths. Threads would be slower, and Python 3.11 sometimes fails to read the
#: source of a function while another thread does (https://github.com/python/cpython/issues/106905).
RUNS = 2

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Gateway:
    """Listens on a free port and tells it on standard output."""

    def __init__(self, folder: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
        settings = {"QUOTAGATE_BIND": "127.0.0.1:0", "QUOTAGATE_DATA_DIR": folder, "QUOTAGATE_ADMIN_KEY": ADMIN_KEY}
        self.process = subprocess.Popen(
            [os.environ["QUOTAGATE_BIN"], "serve"], env={**kept, **settings}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        told = ""
        while "/api/v1/reserve " not in told:
            line = self.process.stdout.readline()
            assert line, f"it ended before it was ready: {told}"
            told += line
        self.url = next(word for word in told.split() if word.startswith("http://"))
        # Nobody needs what comes later, and it must not be stuck on that.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def call(self, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if key.startswith("ak_"):
            headers["X-Mode"] = "test"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with open_url(request, timeout=10) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        try:
            return status, json.loads(text or "null")
        except ValueError:
            return status, text.decode()

    def done(self, method: str, path: str, key: str, body: Any) -> Any:
        status, answer = self.call(method, "/api/v1/" + path, key, body)
        assert status < 300, f"{method} {path}: {status} {answer}"
        return answer

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


def furnish(gateway: Gateway) -> str:
    """Something of each kind, so that calls can meet it; answers a secret key of the sandbox."""
    key: str = gateway.done("POST", "keys", ADMIN_KEY, {"kind": "secret", "mode": "test"})["key"]
    images = {"id": "images", "unit": "count", "quota": 20, "matches": [{"event": "image.*"}], "alerts": [50]}
    plan = {"periodType": "monthly", "periodAnchor": "calendar", "groups": [images]}
    gateway.done("PUT", "plans/p", ADMIN_KEY, plan)
    gateway.done("PUT", "app", ADMIN_KEY, {"defaultPlanId": "p"})
    gateway.done("POST", "subscriptions", key, {"userId": "u", "planId": "p"})
    gateway.done("POST", "reserve", key, {"userId": "u", "event": "image.a", "ttlSeconds": 3600})
    return key


def keys(gateway: Gateway, document: Any, streams: list[str], secret: str) -> dict[str, str]:
    """Which key each operation takes, by asking: the one for which it is not forbidden."""
    found = {}
    for path, item in document["paths"].items():
        for method in () if path in streams else item:
            status, answer = gateway.call(method.upper(), path.replace("{", "").replace("}", ""), ADMIN_KEY, {})
            forbidden = status == 403 and answer["code"] == "forbidden_key"
            found[f"{method.upper()} {path}"] = secret if forbidden else ADMIN_KEY
    return found


def main() -> int:
    document = json.loads(DOCUMENT.read_text())
    # A stream does not end.
    streams = [path for path, item in document["paths"].items() if "text/event-stream" in json.dumps(item)]
    with tempfile.TemporaryDirectory(prefix="qg") as folder:
        gateway = Gateway(folder)
        try:
            secret = furnish(gateway)
            settings = {
                "SCHEMATHESIS_HOOKS": "checks",
                "PYTHONPATH": str(HERE),
                "HOSTILE_KEYS": json.dumps(keys(gateway, document, streams, secret)),
                "no_proxy": "*",
            }
            command = [str(Path(sys.executable).parent / "st"), "--config-file", str(HERE / "schemathesis.toml"), "run", str(DOCUMENT)]
            command += ["--url", gateway.url, "--exclude-checks", LEFT_OUT, "--request-timeout", MOST_SECONDS]
            command += ["--max-time", os.environ.get("HOSTILE_SECONDS", "30"), "--phases", "examples,coverage,fuzzing", "--workers", "1"]
            command += ["--seed", os.environ.get("SEED") or str(secrets.randbelow(2**32)), *sys.argv[1:]]
            paths = [path for path in document["paths"] if path not in streams]
            runs = []
            for share in range(RUNS):
                chosen = [word for path in paths[share::RUNS] for word in ("--include-path", path)]
                (home := Path(folder, f"run{share}")).mkdir()
                with home.with_suffix(".log").open("w") as log:
                    runs.append(subprocess.Popen(command + chosen, cwd=home, env={**os.environ, **settings}, stdout=log, stderr=log))
            status = max(abs(run.wait()) for run in runs)
            for log in sorted(Path(folder).glob("run*.log")):
                print(log.read_text(), flush=True)
            ready, _ = gateway.call("GET", "/readyz", "")
            assert ready == 200, f"afterwards it is not ready: {ready}"
        finally:
            stopped = gateway.stop()
        assert stopped == 0, f"the gateway ended with {stopped}"
    return status


if __name__ == "__main__":
    sys.exit(main())
