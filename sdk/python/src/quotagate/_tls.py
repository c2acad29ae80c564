"""One TLS context for all clients of a process, since loading the certificates takes longer than most calls."""

from __future__ import annotations

import functools
import ssl

import httpx


@functools.cache
def shared_context() -> ssl.SSLContext:
    return httpx.create_ssl_context()
