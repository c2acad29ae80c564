"""Processes whose instructions are counted, with callgrind, and connections to them."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

#: Seconds during which a process is measured without calls.
IDLE_S = 6
#: Seconds after which a part that does not start or finish is given up.
PATIENCE_S = 180


class Connection:
    """A TCP connection with buffered lines."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")


class Http(Connection):
    """A keep-alive connection to the gateway, or to the no-op."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        super().__init__(address)
        self.key = key

    def send(self, method: str, path: str, body: Any) -> bytes:
        text = json.dumps(body, separators=(",", ":")).encode()
        head = (
            f"{method} /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {self.key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + text)
        status = self.file.readline()
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        answer = self.file.read(length)
        if status.split(b" ")[1] not in (b"200", b"201"):
            raise RuntimeError(f"{method} {path}: {status!r} {answer!r}")
        return answer

    def call(self, method: str, path: str, body: Any) -> dict[str, Any]:
        return json.loads(self.send(method, path, body))

    def reserve(self, body: dict[str, Any], allowed: bool = True) -> str:
        answer = self.call("POST", "reserve", body)
        if answer["allowed"] != allowed:
            raise RuntimeError(f"unexpected answer: {answer}")
        return answer.get("reservationId", "")

    def settle(self, call: str, reservation: str, **more: Any) -> None:
        self.call("POST", call, {"reservationId": reservation, **more})


class Redis(Connection):
    """A connection to Redis."""

    def run(self, *words: Any) -> Any:
        encoded = [str(word).encode() for word in words]
        parts = [b"*%d\r\n" % len(encoded)] + [b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded]
        self.socket.sendall(b"".join(parts))
        return self.answer()

    def answer(self) -> Any:
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2].decode()
        if kind == b"*":
            return [self.answer() for _ in range(int(rest))]
        if kind == b"$":
            return None if rest == "-1" else self.file.read(int(rest) + 2)[:-2].decode()
        if kind == b"-":
            raise RuntimeError(rest)
        return int(rest) if kind == b":" else rest


def dict_of(pairs: list[Any]) -> dict[str, Any]:
    return dict(zip(pairs[::2], pairs[1::2]))


def wait_for(what: str, done: Callable[[], Any], every_s: float = 0.2) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if (found := done()) is not None:
            return found
        time.sleep(every_s)
    raise RuntimeError(f"{what} took longer than {PATIENCE_S} s")


class Counted:
    """A process, under callgrind if it is to be counted."""

    def __init__(self, command: list[str], counted: bool, environment: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="count-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.dumps = self.folder / "callgrind"
        if counted:
            options = ["--instr-atstart=no", "--fair-sched=try", f"--callgrind-out-file={self.dumps}"]
            command = ["valgrind", "--tool=callgrind", *options, *command]
        self.log = self.folder / "log"
        with self.log.open("wb") as log, (self.folder / "errors").open("wb") as errors:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=errors, cwd=self.folder, env={**os.environ, **(environment or {})}
            )
        atexit.register(self.stop)
        self.idle = 0.0

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def address(self, pattern: str) -> tuple[str, int]:
        """Where it listens: the first match in its output."""

        def found() -> tuple[str, int] | None:
            if self.process.poll() is not None:
                raise RuntimeError((self.folder / "errors").read_text(errors="replace"))
            match = re.search(pattern, self.log.read_text(errors="replace"))
            return (match[1], int(match[2])) if match else None

        return wait_for("a start", found)

    def control(self, *options: str) -> None:
        subprocess.run(["callgrind_control", *options, str(self.process.pid)], check=True, capture_output=True)

    def measure_idle(self) -> None:
        """Starts to count, and measures what it does by itself."""
        self.control("-i", "on")
        self.count(lambda: time.sleep(1))
        instructions, seconds = self.count(lambda: time.sleep(IDLE_S))
        self.idle = instructions / seconds

    def count(self, work: Callable[[], Any]) -> tuple[float, float]:
        """Instructions during some work, and its seconds."""
        self.control("-z")
        began = time.monotonic()
        work()
        seconds = time.monotonic() - began
        self.control("-d")
        last = max(self.folder.glob("callgrind.*"), key=lambda path: int(path.suffix[1:]))
        found = re.search(r"^(?:summary|totals): (\d+)", last.read_text(errors="replace"), re.MULTILINE)
        if not found:
            raise RuntimeError(f"no total in {last}")
        return float(found[1]), seconds

    def per_call(self, work: Callable[[], Any], calls: int) -> float:
        """Instructions per call of some work, without what it does by itself."""
        instructions, seconds = self.count(work)
        return (instructions - self.idle * seconds) / calls


def connected(port: int) -> Redis | None:
    try:
        redis = Redis(("127.0.0.1", port))
        redis.run("PING")
        return redis
    except (OSError, RuntimeError):
        return None
