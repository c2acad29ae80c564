"""Sends every operation of the API document what it asks for and what it does not, and judges each answer by the document.

Each process takes a share of the paths and has a gateway of its own, so that a seed repeats a run.

- By default: the seed and the number of calls per operation are fixed (`SEED`, `EXAMPLES`).
- With `HOSTILE_SECONDS`: a new seed, and as many calls as there is time for.
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
#: Generated calls per operation, besides those that the document implies.
EXAMPLES = "4"
SEED = "20261122"
#: For each answer. It is reached only when something hangs.
MOST_SECONDS = 120
#: So many lines of a gateway's log are shown with a failure.
LOG_LINES = 40
#: Ends the gateway and removes its data as soon as this process is gone, however it ends.
WATCHDOG = 'read -r ended || { kill "$1"; while kill -0 "$1"; do sleep 1; done; rm -rf "$2"; } 2>/dev/null'
#: Wrong keys wait here, which takes no core: a process of its own.
WAITING = "/api/v1/session"
#: So many processes share the other paths. Threads would be slower, and Python 3.11 sometimes fails to read the source of
#: a function while another thread does (https://github.com/python/cpython/issues/106905).
BUSY = 2

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Gateway:
    """Listens on a free port and tells it on standard output."""

    def __init__(self, folder: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
        settings = {"QUOTAGATE_BIND": "127.0.0.1:0", "QUOTAGATE_DATA_DIR": folder, "QUOTAGATE_ADMIN_KEY": ADMIN_KEY}
        settings["QUOTAGATE_REDIS_TIMEOUT_MS"] = str(MOST_SECONDS * 500)
        self._log = Path(folder, "log")
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [os.environ["QUOTAGATE_BIN"], "serve"], env={**kept, **settings}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "watchdog", str(self.process.pid), folder], stdin=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        late = threading.Timer(MOST_SECONDS, self.process.kill)
        late.start()
        told = ""
        while "/api/v1/reserve " not in told:
            line = self.process.stdout.readline()
            assert line, f"it ended, or took {MOST_SECONDS} s, before it was ready:\n{told}{self.log()}"
            told += line
        late.cancel()
        self.url = next(word for word in told.split() if word.startswith("http://"))
        # Nobody needs what comes later, and it must not be stuck on that.
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def log(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def call(self, method: str, path: str, key: str, body: Any = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if key.startswith("ak_"):
            headers["X-Mode"] = "test"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, headers=headers, method=method)
        try:
            with open_url(request, timeout=MOST_SECONDS) as answer:
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
        status = self.process.wait(MOST_SECONDS)
        self._watchdog.communicate(b"ended\n")
        return status


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


class Share:
    """Some of the paths, with a gateway and a process that sends the calls."""

    def __init__(self, home: Path, document: Any, streams: list[str], paths: list[str], arguments: list[str]) -> None:
        self._home = home
        home.mkdir()
        (data := home / "data").mkdir()
        self.gateway = Gateway(str(data))
        self._expected = {f"{method.upper()} {path}" for path in paths for method in document["paths"][path]}
        self._reached = home / "reached"
        secret = furnish(self.gateway)
        settings = {
            "SCHEMATHESIS_HOOKS": "checks",
            "PYTHONPATH": str(HERE),
            "HOSTILE_KEYS": json.dumps(keys(self.gateway, document, streams, secret)),
            "HOSTILE_REACHED": str(self._reached),
            "no_proxy": "*",
        }
        command = [str(Path(sys.executable).parent / "st"), "--config-file", str(HERE / "schemathesis.toml"), "run", str(DOCUMENT)]
        command += ["--url", self.gateway.url, *arguments, *(word for path in paths for word in ("--include-path", path))]
        with (home / "output").open("w") as output:
            self._run = subprocess.Popen(command, cwd=home, env={**os.environ, **settings}, stdout=output, stderr=output)

    def faults(self) -> list[str]:
        """What was wrong, when all calls are sent."""
        found = []
        if status := self._run.wait():
            found.append(f"schemathesis ended with {status}")
        print((self._home / "output").read_text(), flush=True)
        reached = set(self._reached.read_text().splitlines()) if self._reached.exists() else set()
        if missing := sorted(self._expected - reached):
            found.append(f"no call reached {', '.join(missing)}")
        ready, _ = self.gateway.call("GET", "/readyz", "")
        if ready != 200:
            found.append(f"afterwards the gateway is not ready: {ready}")
        return found

    def stop(self) -> list[str]:
        """Ends what still runs."""
        self._run.kill()
        log = self.gateway.log()
        status = self.gateway.stop()
        return [f"the gateway ended with {status}\n{log}"] if status else []


def divided(paths: list[str]) -> list[list[str]]:
    """The paths of each process."""
    busy = [[path for path in paths[number::BUSY] if path != WAITING] for number in range(BUSY)]
    return [[WAITING], *busy]


def main() -> int:
    document = json.loads(DOCUMENT.read_text())
    # A stream does not end.
    streams = [path for path, item in document["paths"].items() if "text/event-stream" in json.dumps(item)]
    paths = [path for path in document["paths"] if path not in streams]
    seconds = os.environ.get("HOSTILE_SECONDS")
    seed = os.environ.get("SEED") or (str(secrets.randbelow(2**32)) if seconds else SEED)
    examples = os.environ.get("EXAMPLES", EXAMPLES)
    amount, limit = (f"HOSTILE_SECONDS={seconds}", ["--max-time", seconds]) if seconds else (f"EXAMPLES={examples}", ["--max-examples", examples])
    repeat = f"SEED={seed} {amount} scripts/test-hostile.sh"
    print(f"To repeat this run: {repeat}", flush=True)
    arguments = ["--exclude-checks", LEFT_OUT, "--request-timeout", str(MOST_SECONDS), "--phases", "examples,coverage,fuzzing", "--workers", "1"]
    # Whether data is generated slowly depends on the machine, and what earlier runs found does not belong to this one.
    arguments += ["--suppress-health-check", "too_slow", "--generation-database", "none", "--seed", seed, *limit, *sys.argv[1:]]
    with tempfile.TemporaryDirectory(prefix="qg") as folder:
        shares: list[Share] = []
        found: list[str] = []
        try:
            for number, share in enumerate(divided(paths)):
                shares.append(Share(Path(folder, str(number)), document, streams, share, arguments))
            for one in shares:
                if faults := one.faults():
                    found += [*faults, f"the last lines of its gateway's log:\n{one.gateway.log()}"]
        finally:
            for one in shares:
                found += one.stop()
    if found:
        print("\n".join([*found, f"To repeat this run: {repeat}"]), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
