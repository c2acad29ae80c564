"""Makes layout6.jsonl and layout6.answers.json: what a release with layout 6 stored, and what it answered then.

    python3 tests/data/layout6.py <quotagate of that release>

It starts that gateway on a Redis of its own (redis-server and redis-cli on the PATH), in a directory under /tmp. All state
is in a sandbox whose clock stands still, so that it is the same whenever a test loads it, but for a few calls in live mode.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ADMIN = "ak_process_test_0123456789abcdef"
DAY = 86_400
START = 1_801_389_600  # 2027-01-31T10:00:00Z


def group(name, unit, quota, event, **more):
    return {"id": name, "unit": unit, "quota": quota, "matches": [{"event": event}], **more}


class Old:
    """The gateway of the old release on a scratch Redis."""

    def __init__(self, binary, directory):
        self.socket = os.path.join(directory, "redis.sock")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        options = ["--port", "0", "--save", "", "--unixsocket", self.socket]
        self.redis = subprocess.Popen(["redis-server", *options], cwd=directory, **quiet)
        while not os.path.exists(self.socket):
            time.sleep(0.05)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QUOTAGATE_")}
        environment |= {
            "QUOTAGATE_REDIS_URL": f"redis+unix://{self.socket}",
            "QUOTAGATE_BIND": "127.0.0.1:0",
            "QUOTAGATE_DATA_DIR": directory,
            "QUOTAGATE_ADMIN_KEY": ADMIN,
            "QUOTAGATE_WEBHOOK_ALLOW_PRIVATE": "true",
        }
        self.gateway = subprocess.Popen([binary, "serve"], env=environment, text=True, stdout=subprocess.PIPE)
        self.url = next(word for line in self.gateway.stdout for word in line.split() if word.startswith("http://"))
        self.answers = []

    def stop(self):
        self.gateway.terminate()
        self.gateway.wait()

    def send(self, method, path, body=None, key=ADMIN, headers=None, expect=(200, 201, 202, 204)):
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", method=method)
        request.add_header("authorization", f"Bearer {key}")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        data = None
        if body is not None:
            request.add_header("content-type", "application/json")
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data) as response:
                status, text = response.status, response.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        assert status in expect, (method, path, body, status, text)
        return json.loads(text) if text else None

    def keep(self, method, path, body=None, key=ADMIN, headers=None):
        """Calls once more and keeps the answer, which the new release has to give too."""
        answer = self.send(method, path, body, key, headers, expect=range(200, 500))
        about = {"method": method, "path": path, "body": body, "headers": headers or {}}
        self.answers.append({**about, "key": "admin" if key == ADMIN else "secret", "answer": answer})

    def command(self, *words):
        told = subprocess.run(["redis-cli", "-s", self.socket, "--json", *words], capture_output=True, check=True)
        return json.loads(told.stdout.replace(b",inf]", b",Infinity]"))


def configure(old):
    old.send("PUT", "plans/trial", {"periodType": "daily", "groups": [group("trials", "count", 5, "trial.*")]})
    spend = group("spend", "cents", 500, "llm.*", measure={"per": {"tokens": "0.01"}, "estimate": {"tokens": 100}})
    images = group("images", "count", 20, "image.*", alerts=[50, 100])
    jobs = group("jobs", "count", 4, "job.*", periodType="concurrent", measure="event")
    premium = group("premium", "count", 10, "premium.*", enforcement="approval")
    old.send("PUT", "plans/free", {"periodType": "daily", "groups": [images, jobs, premium, spend]})
    videos = group("videos", "seconds", 3600, "video.*", onPlanChange="block", alerts=[80])
    renders = group("images_pro", "count", 60, "image.*")
    old.send("PUT", "plans/pro", {"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [videos, renders]})
    small = {**videos, "quota": 600}
    old.send("PUT", "plans/small", {"periodType": "monthly", "periodAnchor": "subscription_start", "groups": [small]})
    caps = [
        group("team", "count", 100, "image.a", scope=["metadata.team"], alerts=[10]),
        group("member", "count", 50, "image.a", scope=["user", "metadata.team"]),
        group("by_key", "count", 1000, "image.*", scope=["key"], periodType="lifetime"),
        group("whole", "count", 5000, "image.*", scope=["app"], enforcement="soft"),
    ]
    old.send("PUT", "policies/caps", {"periodType": "daily", "groups": caps})
    old.send("PUT", "app", {"defaultPlanId": "trial", "reportLabels": ["team"]})
    events = ["threshold.reached", "limit.reached", "approval.requested", "approval.decided", "reservation.expired"]
    old.send("PUT", "webhooks/hook", {"url": "http://127.0.0.1:9/", "events": [*events, "subscription.changed"]})


def fill(old, key):
    app = lambda method, path, body=None, **more: old.send(method, path, body, key, **more)
    keyed = lambda name: {"idempotency-key": name}
    clock = lambda at: app("PUT", "test-clock", {"now": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))})
    red = {"team": "red"}

    def reserve(user, event, **more):
        return app("POST", "reserve", {"userId": user, "event": event, "ttlSeconds": 3600} | more)["reservationId"]

    clock(START)
    for user in ["u1", "u2", "u3", "u 4%"]:
        app("POST", "subscriptions", {"userId": user, "planId": "free"})
    app("POST", "subscriptions", {"userId": "p1", "planId": "pro", "cycleStart": "2027-01-15T08:30:00Z"})
    app("POST", "subscriptions", {"userId": "p2", "planId": "pro", "endsAt": "2027-06-01T00:00:00Z"})
    app("POST", "subscriptions", {"userId": "p3", "planId": "pro"})
    app("POST", "subscriptions", {"userId": "own", "planId": "free", "customLimits": {"images": {"quota": 99}}})
    # Windows that close, more of them than are kept.
    for day in range(14):
        clock(START + day * DAY)
        for user in ["u1", "u2", "own"]:
            app("POST", "track", {"userId": user, "event": "image.a", "quantity": 1 + day % 3, "metadata": red})
        app("POST", "track", {"userId": "stranger", "event": "trial.a"})
        app("POST", "track", {"userId": "p1", "event": "video.a", "quantity": "30.5"})
    # Twenty minutes past midnight, with something held in a window that is closed by now.
    at = START + 15 * DAY - 10 * 3600 + 1200
    clock(at - 2400)
    answers = {"over_midnight": reserve("u1", "image.b", quantity=4)}
    clock(at)
    answers["draw"] = reserve("u1", "image.a", quantity=6, metadata=red)
    draw = {"reservationId": answers["draw"], "quantity": 2, "final": False}
    app("POST", "commit", draw, headers=keyed("draw-1"))
    answers["held"] = reserve("u1", "image.a", quantity=3, metadata=red)
    answers["to_expire"] = reserve("u1", "image.a", quantity=1, ttlSeconds=60, metadata=red)
    answers["to_refund"] = reserve("u2", "image.a", quantity=5, metadata=red)
    app("POST", "commit", {"reservationId": answers["to_refund"]}, headers=keyed("commit-1"))
    app("POST", "track", {"userId": "u2", "event": "image.a", "quantity": 6, "metadata": red}, headers=keyed("track-1"))
    answers["released"] = reserve("u2", "image.b")
    app("POST", "release", {"reservationId": answers["released"]}, headers=keyed("release-1"))
    answers["rejected"] = reserve("u2", "image.b")
    app("POST", "commit", {"reservationId": answers["rejected"], "outcome": "rejected"})
    answers["accepted"] = reserve("u2", "llm.a")
    app("POST", "commit", {"reservationId": answers["accepted"], "metadata": {"tokens": 250}})
    app("POST", f"reservations/{answers['accepted']}/outcome", {"outcome": "accepted"}, headers=keyed("outcome-1"))
    answers["extended"] = reserve("p1", "video.a", quantity=60, ttlSeconds=600)
    more = {"reservationId": answers["extended"], "ttlSeconds": 3000, "quantity": 30}
    app("POST", "extend", more, headers=keyed("extend-1"))
    answers["job"] = reserve("u2", "job.a")
    answers["job_2"] = reserve("u2", "job.a")
    answers["estimate"] = reserve("u 4%", "llm.a", quantity=1)
    answers["keyed"] = app("POST", "reserve", {"userId": "p2", "event": "image.b"}, headers=keyed("reserve-1"))["reservationId"]
    # Denied, with a key; the limit and the thresholds are told.
    full = {"userId": "u2", "event": "image.a", "quantity": 20, "metadata": red}
    app("POST", "reserve", full, headers=keyed("denied-1"))
    app("POST", "track", {**full, "enforce": True}, headers=keyed("denied-2"), expect=(429,))
    app("POST", "reserve", {"userId": "nobody", "event": "other"}, headers=keyed("denied-3"))
    # Approval requests: open, rejected, approved.
    for user in ["u1", "u2", "u3"]:
        app("POST", "track", {"userId": user, "event": "premium.a", "quantity": 9})
    asked = {}
    for user in ["u1", "u2", "u3"]:
        denied = app("POST", "reserve", {"userId": user, "event": "premium.a", "quantity": 5})
        asked[user] = denied["deniedBy"][0]["approval"]["id"]
    test = {"x-mode": "test"}
    old.send("POST", f"approvals/{asked['u2']}/reject", {"note": "no"}, headers=test)
    old.send("POST", f"approvals/{asked['u3']}/approve", {"amount": 7}, headers=test)
    answers["open_request"], answers["rejected_request"] = asked["u1"], asked["u2"]
    # Grants within a window, until a time, and of a team; blocked amounts; a blocked user.
    for body in [
        {"groupId": "images", "scope": {"user": "u2"}, "amount": 5},
        {"groupId": "images", "scope": {"user": "u1"}, "amount": 7, "expiresAt": "2027-02-16T12:00:00Z"},
        {"groupId": "team", "scope": {"metadata.team": "red"}, "amount": 11},
    ]:
        old.send("POST", "grants", body, headers=test)
    app("POST", "track", {"userId": "p3", "event": "video.a", "quantity": 100})
    app("POST", "subscriptions", {"userId": "p3", "planId": "small"})
    old.send("POST", "users/u%204%25/block", {}, headers=test)
    # Given back in part, with a key: what was passed is told no second time.
    app("POST", "track", refund_of(answers), headers=keyed("refund-1"))
    app("POST", "track", {"userId": "fresh", "event": "trial.a", "quantity": 2}, headers=keyed("track-3"))
    return answers


def refund_of(ids):
    return {"userId": "u2", "event": "image.a.refund", "quantity": 2, "metadata": {"reservationId": ids["to_refund"]}}


def keep_answers(old, key, ids):
    red = {"team": "red"}
    full = {"userId": "u2", "event": "image.a", "quantity": 20, "metadata": red}
    for name, path, body in [
        ("draw-1", "commit", {"reservationId": ids["draw"], "quantity": 2, "final": False}),
        ("commit-1", "commit", {"reservationId": ids["to_refund"]}),
        ("track-1", "track", {"userId": "u2", "event": "image.a", "quantity": 6, "metadata": red}),
        ("release-1", "release", {"reservationId": ids["released"]}),
        ("outcome-1", f"reservations/{ids['accepted']}/outcome", {"outcome": "accepted"}),
        ("extend-1", "extend", {"reservationId": ids["extended"], "ttlSeconds": 3000, "quantity": 30}),
        ("reserve-1", "reserve", {"userId": "p2", "event": "image.b"}),
        ("denied-1", "reserve", full),
        ("denied-2", "track", {**full, "enforce": True}),
        ("denied-3", "reserve", {"userId": "nobody", "event": "other"}),
        ("refund-1", "track", refund_of(ids)),
        ("track-3", "track", {"userId": "fresh", "event": "trial.a", "quantity": 2}),
    ]:
        old.keep("POST", path, body, key, {"idempotency-key": name})
        # The body is another one.
        old.keep("POST", path, {**body, "metadata": {"other": "1"}}, key, {"idempotency-key": name})
    for user in ["u1", "u2", "u3", "u%204%25", "p1", "p2", "p3", "own", "stranger", "fresh"]:
        old.keep("GET", f"usage?userId={user}&metadata.team=red", key=key)
    for user in ["u1", "p1"]:
        old.keep("GET", f"usage/history?userId={user}", key=key)
        old.keep("GET", f"users/{user}", headers={"x-mode": "test"})
    old.keep("POST", "release", {"reservationId": ids["released"]}, key)
    old.keep("POST", "commit", {"reservationId": ids["rejected"]}, key)
    for name in ["team", "member", "by_key", "whole"]:
        old.keep("GET", f"counters?groupId={name}", headers={"x-mode": "test"})
    for path in [
        "approvals", "approvals?status=decided", "grants", "alerts?limit=200", "users", "reports/limits",
        "reports/usage?from=2027-01-31&to=2027-02-16", "events?limit=20&type=commit,refund,release,denial,draw",
    ]:
        old.keep("GET", path, headers={"x-mode": "test"})


def dump(old, path):
    """As commands, one a line."""
    lines = []
    for key in sorted(old.command("KEYS", "*")):
        kind = old.command("TYPE", key)
        left = old.command("PTTL", key)
        # What is gone soon, or says nothing of layouts.
        if 0 < left < 100_000 or key == "qg:{quotagate}:nodes" or "}:deliver" in key:
            continue
        if kind == "string":
            lines.append(["SET", key, old.command("GET", key)])
        elif kind == "hash":
            lines.append(["HSET", key, *(part for pair in sorted(old.command("HGETALL", key).items()) for part in pair)])
        elif kind == "zset":
            members = old.command("ZRANGE", key, "0", "-1", "WITHSCORES")
            flat = [part for pair in members for part in pair] if members and isinstance(members[0], list) else members
            lines.append(["ZADD", key, *(str(part) for at in range(0, len(flat), 2) for part in (number(flat[at + 1]), flat[at]))])
        else:
            for entry, fields in old.command("XRANGE", key, "-", "+"):
                lines.append(["XADD", key, entry, *fields])
            for found in old.command("XINFO", "GROUPS", key):
                lines.append(["XGROUP", "CREATE", key, found["name"], found["last-delivered-id"], "MKSTREAM"])
        if left > 0:
            lines.append(["PEXPIRE", key, str(left)])
    with open(path, "w") as out:
        out.writelines(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def number(score):
    score = float(score)
    return str(int(score)) if score == score and abs(score) != float("inf") else ("+inf" if score > 0 else "-inf")


def main():
    with tempfile.TemporaryDirectory() as directory:
        old = Old(sys.argv[1], directory)
        try:
            configure(old)
            key = old.send("POST", "keys", {"kind": "secret", "mode": "test"})["key"]
            live = old.send("POST", "keys", {"kind": "secret", "mode": "live"})["key"]
            old.send("POST", "track", {"userId": "u1", "event": "trial.a", "quantity": 2}, live)
            old.send("POST", "reserve", {"userId": "u1", "event": "trial.a", "ttlSeconds": 3600}, live)
            ids = fill(old, key)
            keep_answers(old, key, ids)
            old.stop()
            dump(old, os.path.join(HERE, "layout6.jsonl"))
            with open(os.path.join(HERE, "layout6.answers.json"), "w") as out:
                told = [json.dumps(answer, ensure_ascii=False, separators=(",", ":")) for answer in old.answers]
                keys = json.dumps({"secret": key, "live": live, "ids": ids}, ensure_ascii=False)
                out.write('{"world": ' + keys + ',\n"answers": [\n' + ",\n".join(told) + "\n]}\n")
        finally:
            old.stop()
            old.redis.kill()


if __name__ == "__main__":
    main()
