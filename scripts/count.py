#!/usr/bin/env python3
"""Counts the instructions that one call takes in Redis and in the gateway, with callgrind.

    make count                  or CARGO=cargo scripts/count.py
    scripts/count.py redis      only the part of Redis; `gateway` and `bytes` print the other parts
    make count PROFILE=quick    as `make run` builds it; default: counting
    make count BINARIES=folder  a program that is built already, with the no-op in folder/examples

Counts repeat within 1 to 2 %, however busy the machine is. Each call is sent over HTTP, on one connection, after a
warm-up. What the process does in the same time without calls is measured first and subtracted.

Instructions of Redis are divided by the floor: a script that reads and writes three counters, with one HMGET and one
HSET.
Instructions of the gateway stand beside a no-op: a handler of the same web framework that parses the same body and
returns a constant answer of the same size (benches/calls/no_op.rs).

Exit codes: 0 printed, 2 a program is missing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple

from counted import Counted, Http, Redis, connected, dict_of, wait_for

ROOT = Path(__file__).resolve().parent.parent
MISSING = 2
PROFILE = os.environ.get("PROFILE", "counting")
ADMIN_KEY = "ak_count_0123456789abcdefghij"
#: Users of each plan, and calls of each kind: one call per user.
USERS = 300
#: How often each user calls before the entries are folded: three full steps of 400 (src/service/reporting/rollup.rs).
FOLDED_ROUNDS = 4
#: Calls of the floor, which all other counts of Redis are divided by.
FLOOR_CALLS = 3_000
#: Options that the gateway gives to the Redis that it starts itself.
COMPACT = [
    "--hash-max-listpack-value", "256", "--hash-max-listpack-entries", "64",
    "--zset-max-listpack-value", "256", "--zset-max-listpack-entries", "64",
]
PREFIX = "qg:{default:live}:"
#: Parts of the background work, each with a lease (src/service/leases.rs).
LEASES = [f"qg:{{quotagate}}:lease:rollups:{part}" for part in range(8)]

IMAGE = "image.render"
#: Adds 1 to three fields.
HMGET_HSET = """local v = redis.call('HMGET', KEYS[1], 'a.used', 'a.held', 'b.used', 'b.held', 'c.used', 'c.held', 'v')
local o = {}
for i = 1, 3 do o[i] = (tonumber(v[2 * i] or 0) or 0) + 1 end
redis.call('HSET', KEYS[1], 'a.held', o[1], 'b.held', o[2], 'c.held', o[3])
return o"""


def image(user: str) -> dict[str, Any]:
    """The commonest reserve."""
    return {"userId": user, "event": IMAGE, "metadata": {"model": "flux-pro"}, "ttlSeconds": 3600}


def brief(user: str) -> dict[str, Any]:
    """The same for a minute, the default."""
    return {**image(user), "ttlSeconds": 60}


def denied(user: str) -> dict[str, Any]:
    """A reserve that exceeds one of its three limits."""
    return {**image(user), "quantity": 2_000}


def llm(user: str) -> dict[str, Any]:
    metadata = {"model": "large", "prompt_tokens": 374, "completion_tokens": 440}
    return {"userId": user, "event": "llm.chat", "metadata": metadata, "ttlSeconds": 3600}


def of_team(event: str) -> Callable[[str], dict[str, Any]]:
    def body(user: str) -> dict[str, Any]:
        team = f"team_{int(user[-4:]) % 10}"
        return {"userId": user, "event": event, "metadata": {"team": team}, "ttlSeconds": 3600}

    return body


def group(name: str, event: str = "image.*", **more: Any) -> dict[str, Any]:
    return {"id": name, "unit": "count", "quota": 1_000_000, "matches": [{"event": event}], **more}


def images(groups: int) -> dict[str, Any]:
    """A plan whose groups all match; each third one is daily and has less quota."""
    daily = {"periodType": "daily", "quota": 1_000}
    return {
        "periodType": "monthly",
        "groups": [group(f"lg_{place}", **(daily if place % 3 == 2 else {})) for place in range(groups)],
    }


def per(prompt: Any, completion: Any) -> dict[str, Any]:
    return {"per": {"prompt_tokens": prompt, "completion_tokens": completion}}


#: The plan of users without a subscription.
DEFAULT = "default"

PLANS: dict[str, dict[str, Any]] = {
    "one": images(1),
    "packs": {
        "periodType": "monthly",
        "groups": [
            group("plan", quota=1, overflow="credits"),
            {"id": "credits", "kind": "balance", "unit": "count"},
        ],
    },
    "three": images(3),
    DEFAULT: images(3),
    "nine": images(9),
    "teams": {
        "periodType": "monthly",
        "groups": [
            group("own", "*"),
            group("team", "*", scope=["metadata.team"]),
            group("own_b", "job.large"),
            group("own_c", "job.large"),
        ],
    },
    "llm": {
        "periodType": "monthly",
        "periodAnchor": "subscription_start",
        "groups": [
            group("tokens", "llm.*", unit="tokens", quota=1_000_000_000, measure=per(1, 1)),
            group("spend", "llm.*", unit="cents", measure=per("0.00025", "0.001")),
            group("requests", "llm.*", measure="event", periodType="minute"),
        ],
    },
}


def user(plan: str, number: int) -> str:
    """A name of 14 characters, another one for each plan."""
    return f"u_{list(PLANS).index(plan) * USERS + number * 7919 % USERS:012}"


class Stage(NamedTuple):
    """A Redis and a gateway with subscribed users."""

    server: Counted
    gateway: Counted
    redis: Redis
    http: Http

    @classmethod
    def set(cls, binaries: Path, plans: list[str], counts_redis: bool, counts_gateway: bool) -> Stage:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = ["--port", str(port), "--save", "", "--hz", "1", *COMPACT]
        server = Counted(["redis-server", *options], counts_redis)
        redis = wait_for("the start of Redis", lambda: connected(port))
        settings = {
            "QUOTAGATE_BIND": "127.0.0.1:0",
            "QUOTAGATE_REDIS_URL": f"redis://127.0.0.1:{port}",
            "QUOTAGATE_ADMIN_KEY": ADMIN_KEY,
            "QUOTAGATE_REDIS_TIMEOUT_MS": "60000",
            "QUOTAGATE_WORKERS": "1",
        }
        gateway = Counted([str(binaries / "quotagate"), "serve"], counts_gateway, settings)
        address = gateway.address(r"listening on http://([\d.]+):(\d+)")
        admin = Http(address, ADMIN_KEY)
        key = admin.call("POST", "keys", {"kind": "secret", "mode": "live"})["key"]
        http = Http(address, key)
        stage = cls(server, gateway, redis, http)
        for plan in plans:
            admin.call("PUT", f"plans/{plan}", PLANS[plan])
            if plan == DEFAULT:
                admin.call("PUT", "app", {"defaultPlanId": plan})
                continue
            started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stage.second() // 60 * 60 - 86_400 * 3))
            for number in range(USERS):
                body = {"userId": user(plan, number), "planId": plan, "startedAt": started}
                http.call("POST", "subscriptions", body)
        stage.stop_folding()
        return stage

    def second(self) -> int:
        return int(self.redis.run("TIME")[0])

    def stop(self) -> None:
        self.gateway.stop()
        self.server.stop()

    def reserve(self, plan: str, body: Callable[[str], dict[str, Any]], allowed: bool = True) -> list[str]:
        return [self.http.reserve(body(user(plan, number)), allowed) for number in range(USERS)]

    def settle(self, call: str, reservations: list[str], **more: Any) -> None:
        for reservation in reservations:
            self.http.settle(call, reservation, **more)

    def warm_up(self, plan: str, body: Callable[[str], dict[str, Any]]) -> None:
        """Each user has called once, so no counter is new."""
        self.settle("commit", self.reserve(plan, body))

    def stop_folding(self) -> None:
        """Takes the leases of the gateway, which looks every 1.5 s; three times, since it may renew one that it just read."""
        for _ in range(3):
            for lease in LEASES:
                self.redis.run("SET", lease, "counting")
            time.sleep(2)

    def fold(self) -> None:
        """Lets the gateway fold what the ledger has into reports."""
        last = dict_of(self.redis.run("XINFO", "STREAM", PREFIX + "ledger"))["last-generated-id"]
        self.redis.run("DEL", *LEASES)

        def folded() -> bool | None:
            cursor = self.redis.run("GET", PREFIX + "rollup:cursor:ledger") or ""
            return True if cursor.split(" ")[0] == last else None

        wait_for("folding", folded)

    def count_reserve(
        self, counted: Counted, plan: str, body: Callable[[str], dict[str, Any]]
    ) -> tuple[float, list[str]]:
        held: list[str] = []
        figure = counted.per_call(lambda: held.extend(self.reserve(plan, body)), USERS)
        return figure, held

    def count_commit(self, counted: Counted, reservations: list[str]) -> tuple[float, float]:
        """Instructions of a commit of the plan `three`, and of folding its entry."""
        self.fold()
        self.stop_folding()
        commit = counted.per_call(lambda: self.settle("commit", reservations), USERS)
        for _ in range(FOLDED_ROUNDS - 1):
            self.settle("commit", self.reserve("three", image))
        folding = counted.per_call(self.fold, FOLDED_ROUNDS * USERS)
        self.stop_folding()
        return commit, folding


def floor(stage: Stage) -> float:
    """The floor of all counts of Redis: the least that a script does which reads and writes three counters."""
    sha = stage.redis.run("SCRIPT", "LOAD", HMGET_HSET)

    def calls() -> None:
        for _ in range(FLOOR_CALLS):
            stage.redis.run("EVALSHA", sha, 1, "floor")

    calls()
    return stage.server.per_call(calls, FLOOR_CALLS)


class Table:
    """Lines of one table, printed as they come."""

    def __init__(self, title: str, unit: str) -> None:
        print(f"\n{title:<66} {unit:>9} {'':>9} target", flush=True)

    def line(self, name: str, figure: str, ratio: str = "", target: str = "") -> None:
        print(f"{name:<66} {figure:>9} {ratio:>9} {target}", flush=True)


def thousands(figure: float) -> str:
    return f"{figure / 1000:.1f} k"


def count_redis(binaries: Path) -> None:
    plans = ["three", "nine", "teams", "llm", "one", "packs", DEFAULT]
    stage = Stage.set(binaries, plans, counts_redis=True, counts_gateway=False)
    redis = stage.server
    table = Table("Redis, per call", "count")
    redis.measure_idle()
    base = floor(stage)

    def line(name: str, figure: float, target: float | None = None) -> None:
        wanted = "" if target is None else f"<= {target}"
        table.line(name, thousands(figure), f"{figure / base:.2f}", wanted)

    line("floor: a script with one HMGET and one HSET", base)
    # The first call of this shape makes its code.
    stage.http.reserve(image("first"), allowed=True)
    first, held = stage.count_reserve(redis, "three", image)
    stage.settle("commit", held)
    reserve, held = stage.count_reserve(redis, "three", image)
    line("reserve, three groups", reserve, 2.8)
    line("  a user's first reserve", first)
    commit, folding = stage.count_commit(redis, held)
    line("commit as held, with folding", commit + folding, 3.8)
    line("  the commit alone", commit)
    table.line("  folding alone", thousands(folding), "", "<= 10 k")
    held = stage.reserve("three", image)
    line("release", redis.per_call(lambda: stage.settle("release", held), USERS), 3.2)
    line("denied reserve, one of three groups over limit",
         redis.per_call(lambda: stage.reserve("three", denied, allowed=False), USERS), 2.4)
    llm_first, llm_reserve, llm_commit = count_llm(stage)
    line("LLM reserve: tokens, cents, requests per minute", llm_reserve, 3.3)
    line("  the first one in its minute", llm_first)
    line("LLM commit with figures", llm_commit, 4.2)
    for name, event, target in [
        ("reserve for a user and a team, one group each", "job.small", 3.8),
        ("reserve for a user with three groups and a team with one", "job.large", None),
    ]:
        stage.warm_up("teams", of_team(event))
        line(name, stage.count_reserve(redis, "teams", of_team(event))[0], target)
    stage.warm_up("nine", image)
    nine = stage.count_reserve(redis, "nine", image)[0]
    table.line("each further group of a reserve (3 to 9)", thousands((nine - reserve) / 6), "", "<= 18 k")
    stage.warm_up("one", image)
    plain = stage.count_reserve(redis, "one", image)[0]
    line("reserve, one group", plain)
    overflowed = count_overflow(stage)
    ratio = f"{overflowed / plain:.2f}"
    table.line("  beyond the quota, from a credit (/ the line above)", thousands(overflowed), ratio, "<= 1.4")
    stage.warm_up(DEFAULT, image)
    line("reserve, three groups, a user without a subscription", stage.count_reserve(redis, DEFAULT, image)[0])
    stage.stop()


def count_overflow(stage: Stage) -> float:
    """A reserve of users whose quota is used, so that a credit covers it."""
    for number in range(USERS):
        scope = {"user": user("packs", number)}
        stage.http.call("POST", "credits", {"groupId": "credits", "scope": scope, "amount": 1_000})
    stage.warm_up("packs", image)
    return stage.count_reserve(stage.server, "packs", image)[0]


def count_llm(stage: Stage) -> tuple[float, float, float]:
    """First reserve in a minute, further reserve, and commit of LLM calls, all within one minute of the users' windows:
    these begin at whole minutes."""
    stage.warm_up("llm", llm)
    for _ in range(3):
        last = stage.second() // 60
        wait_for("the next minute", lambda: True if stage.second() // 60 > last else None)
        minute = stage.second() // 60
        first, held = stage.count_reserve(stage.server, "llm", llm)
        stage.settle("commit", held)
        reserve, held = stage.count_reserve(stage.server, "llm", llm)
        figures = {"completion_tokens": 52}
        commit = stage.server.per_call(lambda: stage.settle("commit", held, metadata=figures), USERS)
        if stage.second() // 60 == minute:
            return first, reserve, commit
    raise RuntimeError("the LLM calls did not fit into one minute; the machine is too busy")


def count_gateway(binaries: Path) -> None:
    stage = Stage.set(binaries, ["three"], counts_redis=False, counts_gateway=True)
    gateway = stage.gateway
    stage.warm_up("three", image)
    body = image(user("three", 1))
    answer = stage.http.send("POST", "reserve", body).decode()
    no_op = Counted([str(binaries / "examples" / "no_op"), "no-op", answer], counted=True)
    address = no_op.address(r"([\d.]+):(\d+)")

    def calls() -> None:
        for number in range(USERS):
            constant.send("POST", "reserve", image(user("three", number)))

    table = Table("Gateway, per call", "count")
    no_op.measure_idle()
    # Only now: it closes a connection without a request after a few seconds.
    constant = Http(address, stage.http.key)
    calls()
    base = no_op.per_call(calls, USERS)
    no_op.stop()
    table.line("no-op: parses the same body, constant answer of the same size", thousands(base))
    gateway.measure_idle()
    stage.warm_up("three", image)
    reserve, held = stage.count_reserve(gateway, "three", image)
    commit, folding = stage.count_commit(gateway, held)

    def line(name: str, figure: float, target: str = "") -> None:
        table.line(name, thousands(figure), f"+{thousands(figure - base)}", target)

    line("reserve, three groups", reserve, "<= no-op + 65 k")
    line("commit as held", commit, "<= no-op + 75 k")
    table.line("folding of a commit's entry", thousands(folding), "", "<= 25 k")
    stage.stop()


def count_bytes(binaries: Path) -> None:
    stage = Stage.set(binaries, ["three"], counts_redis=False, counts_gateway=False)
    run = stage.redis.run

    def usage(key: str) -> int:
        return run("MEMORY", "USAGE", PREFIX + key, "SAMPLES", 0) or 0

    stage.warm_up("three", brief)
    names = [user("three", number) for number in range(USERS)]
    of_users = sum(usage(f"account:user:{name}") + usage(f"holds:user:{name}") for name in names) + usage("users")
    held = stage.reserve("three", brief)
    records = [f"op:{reservation[4:-13]}" for reservation in held]
    of_open = sum(map(usage, records)) + sum(usage(f"holds:user:{name}") for name in names)
    stage.settle("commit", held)
    of_finished = sum(map(usage, records))
    table = Table("Memory of Redis (MEMORY USAGE)", "bytes")
    table.line("user with three groups: account, place in the index of users", f"{of_users / USERS:.0f}", "", "<= 450")
    table.line("open reservation: record, hold", f"{of_open / USERS:.0f}", "", "<= 450")
    table.line("finished reservation: record, until its grace is over", f"{of_finished / USERS:.0f}", "", "<= 280")
    stage.stop()


def build() -> Path:
    if folder := os.environ.get("BINARIES"):
        return Path(folder).resolve()
    cargo = os.environ.get("CARGO") or shutil.which("cargo") or str(Path.home() / ".cargo/bin/cargo")
    command = [cargo, "build", "--profile", PROFILE, "--bin", "quotagate", "--example", "no_op"]
    subprocess.run(command, cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target") / PROFILE


def main() -> int:
    if not (shutil.which("valgrind") and shutil.which("callgrind_control")):
        print("valgrind not found: install it, for example with 'apt-get install valgrind'", file=sys.stderr)
        return MISSING
    if not shutil.which("redis-server"):
        print("redis-server not found: run scripts/install-redis.sh", file=sys.stderr)
        return MISSING
    parts = {"redis": count_redis, "gateway": count_gateway, "bytes": count_bytes}
    wanted = sys.argv[1:] or list(parts)
    if unknown := [name for name in wanted if name not in parts]:
        print(f"unknown part {unknown[0]}: use {', '.join(parts)}", file=sys.stderr)
        return MISSING
    binaries = build()
    for name in wanted:
        parts[name](binaries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
