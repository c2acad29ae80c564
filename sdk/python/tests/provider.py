"""A local server with OpenAI's API: chat completions and responses, streamed or not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["Quotas ", "keep ", "every ", "budget ", "whole ", "and ", "calm."]

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18, "prompt_tokens_details": {"cached_tokens": 4}}
RESPONSES_USAGE = {
    "input_tokens": 13,
    "output_tokens": 7,
    "total_tokens": 20,
    "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


def chunk(choices: list[Any], usage: Any = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-7",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": choices,
        "usage": usage,
    }


def response(status: str, usage: Any) -> dict[str, Any]:
    content = {"type": "output_text", "text": "".join(WORDS), "annotations": []}
    message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [content]}
    return {
        "id": "resp_7",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "status": status,
        "output": [message],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
        "usage": usage,
    }


def chat_events(params: dict[str, Any]) -> Iterator[Any]:
    for word in WORDS:
        yield chunk([{"index": 0, "delta": {"content": word}, "finish_reason": None}])
    yield chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    if (params.get("stream_options") or {}).get("include_usage"):
        yield chunk([], USAGE)


def response_events() -> Iterator[Any]:
    yield {"type": "response.created", "sequence_number": 0, "response": response("in_progress", None)}
    for number, word in enumerate(WORDS):
        yield {
            "type": "response.output_text.delta",
            "sequence_number": number + 1,
            "item_id": "m",
            "output_index": 0,
            "content_index": 0,
            "delta": word,
            "logprobs": [],
        }
    yield {"type": "response.completed", "sequence_number": 99, "response": response("completed", RESPONSES_USAGE)}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        params = json.loads(self.rfile.read(int(self.headers["content-length"])))
        assert isinstance(self.server, Provider)
        self.server.calls.append(params)
        if params["model"] == "down":
            self._json(400, {"error": {"message": "no such model", "type": "invalid_request_error"}})
        elif params.get("stream"):
            chat = self.path.endswith("/chat/completions")
            self._stream(params, chat_events(params) if chat else response_events(), chat)
        elif self.path.endswith("/chat/completions"):
            message = {"role": "assistant", "content": "".join(WORDS)}
            whole = chunk([{"index": 0, "message": message, "finish_reason": "stop"}], USAGE)
            self._json(200, {**whole, "object": "chat.completion"})
        else:
            self._json(200, response("completed", RESPONSES_USAGE))

    def _json(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, params: dict[str, Any], events: Iterator[Any], chat: bool) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for number, event in enumerate(events):
            if params["model"] == "breaks" and number == 3:
                return
            name = "" if chat else f"event: {event['type']}\n"
            self.wfile.write(f"{name}data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        if chat:
            self.wfile.write(b"data: [DONE]\n\n")


class Provider(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Some tests close the connection early, which is no error."""

    def stop(self) -> None:
        self.shutdown()
        self._thread.join(5)
        self.server_close()
