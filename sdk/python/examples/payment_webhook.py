"""A payment provider's webhook puts users on plans. The provider may send an event more than once."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from examples.setup import back_end, put_plan, subscribed
from quotagate import Client, QuotagateError

SECRET = b"whsec_of_the_payment_provider"
FREE = {"id": "recipe_free_images", "unit": "count", "quota": 2, "matches": [{"event": "image.*"}]}
PRO = {"id": "recipe_pro_images", "unit": "count", "quota": 200, "matches": [{"event": "image.*"}]}


def on_event(client: Client, event: dict[str, Any]) -> None:
    """The event's id is the idempotency key, so a repeated event changes nothing."""
    user_id = event["customer"]
    if event["type"] == "invoice.paid":
        client.upsert_subscription(
            user_id, event["plan"], cycle_start=event["period_start"], idempotency_key=event["id"]
        )
    elif event["type"] == "subscription.canceled":
        try:
            client.cancel_subscription(user_id, ends_at=event["period_end"], idempotency_key=event["id"])
        except QuotagateError as error:
            if error.code != "already_canceled":
                raise


class Webhook(BaseHTTPRequestHandler):
    client: Client

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        status = 401
        if hmac.compare_digest(signature, self.headers.get("x-signature", "")):
            try:
                on_event(self.client, json.loads(body))
                status = 204
            except QuotagateError as error:
                # After a 5xx the payment provider sends the event again.
                status = 503 if error.status >= 500 else 400
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def send(url: str, event: dict[str, Any], secret: bytes = SECRET) -> int:
    """Sends an event, as the payment provider does."""
    body = json.dumps(event).encode()
    signature = hmac.new(secret, body, hashlib.sha256).hexdigest()
    request = urllib.request.Request(url, body, {"x-signature": signature})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - our own server
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code


def main() -> None:
    put_plan("recipe_free", FREE)
    put_plan("recipe_pro", PRO)
    with back_end() as client:
        user_id = subscribed(client, "recipe_free")
        Webhook.client = client
        server = HTTPServer(("127.0.0.1", 0), Webhook)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/webhook"
        paid = {
            "id": f"evt_paid_{user_id}",
            "type": "invoice.paid",
            "customer": user_id,
            "plan": "recipe_pro",
            "period_start": "2026-01-31T10:00:00Z",
        }
        ended = {
            "id": f"evt_ended_{user_id}",
            "type": "subscription.canceled",
            "customer": user_id,
            "period_end": "2100-01-31T10:00:00Z",
        }
        print("forged:", send(url, paid, b"another secret"), client.usage(user_id).plan_id)
        print("paid:", send(url, paid), client.usage(user_id).plan_id)
        print("again:", send(url, paid), client.usage(user_id).plan_id)
        print("canceled:", send(url, ended), client.usage(user_id).plan_id, "until its period ends")
        server.shutdown()
        thread.join()
        server.server_close()


if __name__ == "__main__":
    main()
