"""A TCP proxy in front of the gateway that breaks the requests that a test chooses.

Nothing here depends on time. The client of ``Proxy.http`` waits for every answer but a ``slow`` one, however long it
takes. A ``held`` answer waits for ``Proxy.let_go``, or until the client leaves.
"""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx

from tests.waiting import DEADLINE

FAULTS = ("cut_before", "cut_after", "unavailable", "bad_gateway", "slow", "garbage", "not_json", "half")

Choice = Callable[[str, bytes], str]
"""A function of the request line and the whole request that returns the name of a fault, or ``pass``."""


def always(fault: str) -> Choice:
    return lambda line, request: fault


def first(count: int, fault: str, only: str = "") -> Choice:
    """Breaks the first ``count`` requests whose line contains ``only``; all others pass."""
    left = [count]
    lock = threading.Lock()

    def choose(line: str, request: bytes) -> str:
        with lock:
            if left[0] > 0 and only in line:
                left[0] -= 1
                return fault
            return "pass"

    return choose


class Shuffled:
    """A third of the requests fail. Each path meets every fault once in so many requests as a deck has cards."""

    DECK = (*FAULTS, *("pass",) * 2 * len(FAULTS))

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)
        self._lock = threading.Lock()
        self._decks: dict[str, list[str]] = {}
        self.met: Counter[tuple[str, str]] = Counter()
        """The faults of each path."""

    def __call__(self, line: str, request: bytes) -> str:
        path = line.split(" ")[1].rsplit("/", 1)[1]
        with self._lock:
            deck = self._decks.setdefault(path, [])
            if not deck:
                deck.extend(self._source.sample(self.DECK, len(self.DECK)))
            fault = deck.pop()
            self.met[path, fault] += 1
            return fault


NOT_WAITED_FOR = {"connect": DEADLINE, "write": DEADLINE, "pool": DEADLINE, "read": 0.001}
"""The timeouts, in seconds, of a request with a ``slow`` answer."""

LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=100)


class Impatient(httpx.BaseTransport):
    """Lets the proxy choose the fault of each request, and waits for all answers but the slow ones."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._inner = httpx.HTTPTransport(limits=LIMITS)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._proxy.mark(request)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class AsyncImpatient(httpx.AsyncBaseTransport):
    """``Impatient`` for an event loop."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._inner = httpx.AsyncHTTPTransport(limits=LIMITS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._proxy.mark(request)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class Proxy:
    """A proxy with one thread per connection, which counts the requests by fault."""

    def __init__(self, target: str, choose: Choice, *, retry_after: str = "0") -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 80)
        self.choose = choose
        self.retry_after = retry_after
        self.met: Counter[str] = Counter()
        self.requests: list[tuple[str, bytes]] = []
        self._stop = threading.Event()
        self._go = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._go.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in list(self._open):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)

    def http(self) -> httpx.Client:
        """A client whose requests time out only if the proxy is ``slow``."""
        return httpx.Client(transport=Impatient(self))

    def async_http(self) -> httpx.AsyncClient:
        """``http`` for an event loop."""
        return httpx.AsyncClient(transport=AsyncImpatient(self))

    def mark(self, request: httpx.Request) -> None:
        """Chooses the fault of a request before it is sent."""
        fault = self.choose(f"{request.method} {request.url.path} HTTP/1.1", request.read())
        request.headers["x-fault"] = fault
        if fault == "slow":
            request.extensions = {**request.extensions, "timeout": NOT_WAITED_FOR}

    def let_go(self) -> None:
        """Answers the held requests, and holds no further ones."""
        self._go.set()

    def keys(self, path: str) -> list[str]:
        """The idempotency keys of the requests to a path, in order of arrival."""
        found = []
        for line, request in self.requests:
            if f"/{path} " in line:
                headers = request.split(b"\r\n\r\n")[0].decode().lower().split("\r\n")
                found.append(next(header[17:] for header in headers if header.startswith("idempotency-key: ")))
        return found

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), connection:
            while (request := read_message(connection)) and self._answer(connection, request):
                pass
        with self._lock:
            self._open.discard(connection)

    def _answer(self, connection: socket.socket, request: bytes) -> bool:
        """Returns False if the connection ends."""
        line = request.split(b"\r\n", 1)[0].decode()
        fault = fault_of(request) or self.choose(line, request)
        with self._lock:
            self.met[fault] += 1
            self.requests.append((line, request))
        if fault == "cut_before":
            return False
        if fault == "unavailable":
            connection.sendall(answer_of(503, b"", f"Retry-After: {self.retry_after}\r\n"))
            return True
        if fault == "too_many_reads":
            problem = (
                b'{"type":"about:blank","title":"Busy","status":429,"code":"too_many_reads",'
                b'"detail":"Busy.","requestId":"r"}'
            )
            connection.sendall(answer_of(429, problem, f"Retry-After: {self.retry_after}\r\n"))
            return True
        if fault == "not_found":
            problem = (
                b'{"type":"about:blank","title":"Not found","status":404,"code":"not_found",'
                b'"detail":"There is nothing here.","requestId":"r"}'
            )
            connection.sendall(answer_of(404, problem))
            return True
        if fault == "first_not_done":
            connection.sendall(self._without_first(request))
            return True
        if fault == "bad_gateway":
            connection.sendall(answer_of(502, b"<html>bad gateway</html>"))
            return True
        if fault == "garbage":
            connection.sendall(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            return False
        if fault == "not_json_before":
            connection.sendall(answer_of(200, b"<html>welcome</html>"))
            return True
        if fault in ("slow", "held"):
            self._hold(connection)
        if fault in ("relay", "relay_one"):
            return self._relay(connection, request, once=fault == "relay_one")
        answer = self._forward(request)
        if fault == "cut_after":
            return False
        if fault == "not_json":
            connection.sendall(answer_of(200, b'{"allowed": tr'))
            return True
        if fault == "half":
            connection.sendall(answer[: len(answer) // 2])
            return False
        connection.sendall(answer)
        return True

    def _hold(self, connection: socket.socket) -> None:
        """Waits until the client leaves or the test calls ``let_go``."""
        while not self._go.is_set():
            readable, _, _ = select.select([connection], [], [], 0.01)
            if readable and not connection.recv(1, socket.MSG_PEEK):
                return

    def _forward(self, request: bytes) -> bytes:
        with socket.create_connection(self._target, timeout=DEADLINE) as server:
            server.sendall(request)
            return read_message(server)

    def _without_first(self, request: bytes) -> bytes:
        """Forwards a batch without its first operation, whose result is 503."""
        head, body = request.split(b"\r\n\r\n", 1)
        rest = json.dumps({"operations": json.loads(body)["operations"][1:]}).encode()
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length:")]
        lines.append(b"Content-Length: %d" % len(rest))
        answer = self._forward(b"\r\n".join(lines) + b"\r\n\r\n" + rest)
        problem = {"type": "about:blank", "title": "Busy", "status": 503, "code": "store_unavailable"}
        first = {"status": 503, "body": {**problem, "detail": "Busy.", "requestId": "r"}}
        results = [first, *json.loads(answer.split(b"\r\n\r\n", 1)[1])["results"]]
        return answer_of(200, json.dumps({"results": results}).encode())

    def _relay(self, connection: socket.socket, request: bytes, *, once: bool) -> bool:
        """Passes a stream through; with ``once`` only its first event."""
        with socket.create_connection(self._target, timeout=DEADLINE) as server:
            with self._lock:
                self._open.add(server)
            server.sendall(request)
            passed = b""
            while not (once and b"}\n\n" in passed) and (part := server.recv(65536)):
                connection.sendall(part)
                passed += part
            with self._lock:
                self._open.discard(server)
        return False


def fault_of(request: bytes) -> str:
    """The fault chosen for a request of ``Proxy.http``; empty for any other client."""
    for header in request.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        if header.lower().startswith(b"x-fault: "):
            return header[9:].decode()
    return ""


def answer_of(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def read_message(source: socket.socket) -> bytes:
    """Reads one request or answer with a ``Content-Length``; returns nothing at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = source.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for header in head.split(b"\r\n")[1:]:
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        part = source.recv(65536)
        if not part:
            return b""
        body += part
    return head + b"\r\n\r\n" + body
