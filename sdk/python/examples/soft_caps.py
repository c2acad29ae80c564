"""Soft caps: usage is counted past the quota, too, and the overage is invoiced."""

from __future__ import annotations

from examples.setup import back_end, put_plan, subscribed

SECONDS = {
    "id": "recipe_audio",
    "label": "Audio",
    "unit": "seconds",
    "quota": 600,
    "enforcement": "soft",
    "matches": [{"event": "audio.transcribe"}],
}


def main() -> None:
    put_plan("recipe_audio", SECONDS)
    with back_end() as client:
        user_id = subscribed(client, "recipe_audio")
        for seconds in ("240.5", "300", "181.25"):
            # keep: if the gateway cannot be reached, the client retries in the background.
            tracked = client.track(user_id, "audio.transcribe", seconds, {"model": "small"}, keep=True)
            counter = tracked.counters[0]
            print(tracked.match_status, counter.used, "used,", counter.overage, "over")
        # A broken recording is refunded.
        client.track(user_id, "audio.transcribe.refund", "181.25")
        counter = client.usage(user_id, "audio.*").counters[0]
        print("after the refund:", counter.used, "used,", counter.overage, "over")


if __name__ == "__main__":
    main()
