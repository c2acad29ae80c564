"""A real gateway process with its own Redis, for all tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from quotagate import AsyncClient, Client
from tests.waiting import DEADLINE

SDK = Path(__file__).resolve().parent.parent
ADMIN_KEY = "ak_" + uuid.uuid4().hex

PATIENT: dict[str, Any] = {"timeout": DEADLINE, "deadline": DEADLINE}
"""Options of clients that do not fail when the machine is slow."""

LOG_LINES = 40
"""The lines of the gateway's log in the report of a failed test."""

WATCHDOG = 'read -r ended || { kill "$1"; while kill -0 "$1"; do sleep 1; done; rm -rf "$2"; } 2>/dev/null'
"""Stops the gateway and removes its data as soon as this process ends, for whatever reason."""


def binary() -> str:
    path = Path(os.environ.get("QUOTAGATE_BIN") or SDK / "../../target/debug/quotagate").resolve()
    assert path.is_file(), f"no gateway at {path}: build it, or set QUOTAGATE_BIN"
    return str(path)


def environment(**more: str) -> dict[str, str]:
    """The environment of a process that uses this package, without the settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
    return {**kept, "PYTHONPATH": os.pathsep.join((str(SDK / "src"), str(SDK / "tests/patient"))), **more}


def make_clients_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients with default options do not fail when the machine is slow."""
    for kind in (Client, AsyncClient):
        defaults = kind.__init__.__kwdefaults__
        assert defaults is not None
        for name, value in PATIENT.items():
            monkeypatch.setitem(defaults, name, value)


class Gateway:
    """A gateway on a free port."""

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
        output = ""
        while "/api/v1/reserve " not in output:
            line = self.stdout.readline()
            assert line, f"it ended, or took {DEADLINE:.0f} s, before it was ready:\n{output}{self.log()}"
            output += line
        late.cancel()
        self.url = next(word for word in output.split() if word.startswith("http://"))
        # Reads the rest of the output, so that the gateway never waits for a reader.
        self._drain = threading.Thread(target=self.stdout.read, daemon=True)
        self._drain.start()
        self.admin = Client(api_key=ADMIN_KEY, base_url=self.url, **PATIENT)

    def log(self) -> str:
        """The last lines of the gateway's log."""
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
    """A sandbox for one test, so that tests do not affect each other. They share the configuration of the app."""

    def __init__(self, gateway: Gateway, app: str = "default") -> None:
        self.gateway = gateway
        self.app = app
        self.name = "s" + uuid.uuid4().hex[:12]
        # The first key creates the sandbox, so the operator cannot be in the sandbox yet.
        with Client(api_key=ADMIN_KEY, base_url=gateway.url, app=app, **PATIENT) as operator:
            self.key = operator.admin.create_key("secret", mode="test", sandbox=self.name).key or ""
        assert self.key

    def client(self, **options: Any) -> Client:
        return Client(**{"api_key": self.key, "base_url": self.gateway.url, **PATIENT, **options})

    def async_client(self, **options: Any) -> AsyncClient:
        return AsyncClient(**{"api_key": self.key, "base_url": self.gateway.url, **PATIENT, **options})

    def operator(self, **options: Any) -> Client:
        here = {"api_key": ADMIN_KEY, "base_url": self.gateway.url, "mode": f"test/{self.name}", "app": self.app}
        return Client(**{**here, **PATIENT, **options})


def unique(prefix: str) -> str:
    return prefix + uuid.uuid4().hex[:10]


def group(quota: object, event: str = "*", unit: str = "count", **more: Any) -> dict[str, Any]:
    return {"id": unique("g_"), "unit": unit, "quota": quota, "matches": [{"event": event}], **more}


def plan(*groups: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"periodType": "monthly", "periodAnchor": "calendar", "groups": list(groups), **more}
