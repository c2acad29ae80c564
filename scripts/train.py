#!/usr/bin/env python3
"""Calls an instrumented gateway with what scripts/count.py counts, so that the compiler learns which code is hot.

    scripts/train.py FOLDER     the folder of the instrumented program; ROUNDS=1 for a short run

The gateway writes its profile when it ends (scripts/release.sh).
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable

from count import DEFAULT, USERS, Stage, denied, image, llm, of_team, user
from counted import PATIENCE_S, Http

#: Connections that call at the same time, so that the gateway reads several answers of Redis at once.
CONNECTIONS = 16
#: How often each user makes each call.
ROUNDS = int(os.environ.get("ROUNDS", "20"))
#: Plans of the calls, and their reserves.
CALLS: list[tuple[str, Callable[[str], dict[str, Any]]]] = [
    ("three", image),
    ("llm", llm),
    ("teams", of_team("job.small")),
    (DEFAULT, image),
]


def train(http: Http, place: int) -> None:
    """What one of the connections calls: reserves, of which most are committed, some released, and some denied."""
    for number in range(place, ROUNDS * USERS, CONNECTIONS):
        for plan, body in CALLS:
            held = http.reserve(body(user(plan, number)))
            match number % 8:
                case 7:
                    http.settle("release", held)
                case 0 | 1 if plan == "llm":
                    http.settle("commit", held, metadata={"completion_tokens": 52})
                case _:
                    http.settle("commit", held)
        if number % 8 == 0:
            http.reserve(denied(user("three", number)), allowed=False)


def main() -> int:
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    stage = Stage.set(Path(sys.argv[1]).resolve(), [plan for plan, _ in CALLS], counts_redis=False, counts_gateway=False)
    address = stage.http.socket.getpeername()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for done in [pool.submit(train, Http(address, stage.http.key), place) for place in range(CONNECTIONS)]:
            done.result()
    stage.fold()
    stage.gateway.process.terminate()
    stage.gateway.process.wait(PATIENCE_S)
    stage.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
