"""A real gateway process with its own Redis, for the whole suite."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

from quotagate import AsyncClient, Client
from tests.waiting import DEADLINE

SDK = Path(__file__).resolve().parent.parent
ADMIN_KEY = "ak_" + uuid.uuid4().hex

PATIENT: dict[str, Any] = {"timeout": DEADLINE, "deadline": DEADLINE}
"""Options of clients that no pause of the machine makes fail."""

LOG_LINES = 40
"""So many lines of the gateway's log are shown with a failure."""

WATCHDOG = 'read -r ended || { kill "$1"; while kill -0 "$1"; do sleep 1; done; rm -rf "$2"; } 2>/dev/null'
"""Ends the gateway and removes its data as soon as this process is gone, however it ends."""


def binary() -> str:
    path = Path(os.environ.get("QUOTAGATE_BIN") or SDK / "../../target/debug/quotagate").resolve()
    assert path.is_file(), f"no gateway at {path}: build it, or set QUOTAGATE_BIN"
    return str(path)


def environment(**more: str) -> dict[str, str]:
    """Of a process that uses the package from here, with no setting of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(SDK / "src"), str(SDK / "tests/patient"))), **more}


class Gateway:
    """Starts on a free port and tells it on standard output."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="qg")
        settings = environment(
            QUOTAGATE_BIND="127.0.0.1:0",
            QUOTAGATE_DATA_DIR=self._folder.name,
            QUOTAGATE_ADMIN_KEY=ADMIN_KEY,
            QUOTAGATE_REDIS_TIMEOUT_MS=str(int(DEADLINE * 500)),
        )
        self._log = Path(self._folder.name, "log")
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [binary(), "serve"], env=settings, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "watchdog", str(self._process.pid), self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.stdout = self._process.stdout
        assert self.stdout is not None
        late = threading.Timer(DEADLINE, self._process.kill)
        late.start()
        told = ""
        while "/api/v1/reserve " not in told:
            line = self.stdout.readline()
            assert line, f"it ended, or took {DEADLINE:.0f} s, before it was ready:\n{told}{self.log()}"
            told += line
        late.cancel()
        self.url = next(word for word in told.split() if word.startswith("http://"))
        # Nobody needs what comes later, and it must not be stuck on that.
        self._drain = threading.Thread(target=self.stdout.read, daemon=True)
        self._drain.start()
        self.admin = Client(api_key=ADMIN_KEY, base_url=self.url, **PATIENT)

    def log(self) -> str:
        """The last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-LOG_LINES:])

    def stop(self) -> None:
        self.admin.close()
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._watchdog.communicate(b"ended\n")
        self._drain.join(DEADLINE)
        if self.stdout is not None:
            self.stdout.close()
        self._folder.cleanup()


class Sandbox:
    """A sandbox of its own for each test, so that none meets another; configuration is that of the app."""

    def __init__(self, gateway: Gateway, app: str = "default") -> None:
        self.gateway = gateway
        self.app = app
        self.name = "s" + uuid.uuid4().hex[:12]
        # It begins with its first key, so that this cannot be made from inside it.
        with Client(api_key=ADMIN_KEY, base_url=gateway.url, app=app, **PATIENT) as operator:
            self.key = operator.admin.create_key("secret", mode="test", sandbox=self.name).key or ""
        assert self.key

    def client(self, **options: Any) -> Client:
        return Client(**{"api_key": self.key, "base_url": self.gateway.url, **PATIENT, **options})

    def async_client(self, **options: Any) -> AsyncClient:
        return AsyncClient(**{"api_key": self.key, "base_url": self.gateway.url, **PATIENT, **options})

    def operator(self) -> Client:
        return Client(api_key=ADMIN_KEY, base_url=self.gateway.url, mode=f"test/{self.name}", app=self.app, **PATIENT)


def unique(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:10]


def group(quota: object, event: str = "*", unit: str = "count", **more: Any) -> dict[str, Any]:
    return {"id": unique("g_"), "unit": unit, "quota": quota, "matches": [{"event": event}], **more}


def plan(*groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"periodType": "monthly", "periodAnchor": "calendar", "groups": list(groups), **more}
