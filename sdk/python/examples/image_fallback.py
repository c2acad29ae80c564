"""Image generation: model A, and model B when A's quota is used up."""

from __future__ import annotations

from examples.setup import back_end, put_plan, subscribed
from quotagate import Client, Denied

MODEL_A = {
    "id": "recipe_model_a",
    "label": "Model A",
    "unit": "count",
    "quota": 2,
    "matches": [{"event": "image.model_a"}],
    # The plan names the fallback, so the code below does not have to.
    "onLimit": {"message": "No more of model A", "fallback": {"event": "image.model_b"}},
}
MODEL_B = {
    "id": "recipe_model_b",
    "label": "Model B",
    "unit": "count",
    "quota": 3,
    "matches": [{"event": "image.model_b"}],
    "onLimit": {"message": "All images used", "upgradeUrl": "https://example.com/upgrade"},
}


def render(event: str, prompt: str) -> str:
    return f"{event.removeprefix('image.')}: {prompt}"


def image(client: Client, user_id: str, prompt: str) -> str:
    event = "image.model_a"
    while True:
        try:
            with client.reservation(user_id, event):
                return render(event, prompt)
        except Denied as denied:
            if denied.fallback is None or denied.fallback.event == event:
                raise
            event = denied.fallback.event


def main() -> None:
    put_plan("recipe_images", MODEL_A, MODEL_B)
    with back_end() as client:
        user_id = subscribed(client, "recipe_images")
        for number in range(6):
            try:
                print(image(client, user_id, f"a lighthouse, take {number + 1}"))
            except Denied as denied:
                print("denied:", denied.on_limit and denied.on_limit.message)


if __name__ == "__main__":
    main()
