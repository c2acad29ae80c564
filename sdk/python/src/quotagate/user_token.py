"""Tokens for publishable keys that require one."""

from __future__ import annotations

import hashlib
import hmac


def user_token(secret: str, user_id: str) -> str:
    """The ``X-User-Token`` of one user, in lower-case hex. Compute it in your back end and send it to the page.

    ``secret`` is the ``user_token_secret`` of the publishable key, shown once at its creation.

    Example::

        token = user_token(os.environ["USER_TOKEN_SECRET"], session.user_id)
    """
    return hmac.new(secret.encode(), user_id.encode(), hashlib.sha256).hexdigest()
