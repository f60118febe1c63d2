"""The one-time link that makes the first account of an installation."""

from __future__ import annotations

import secrets

from django.core import signing
from django.urls import reverse

from accounts.actions import needs_first_account

SALT = "accounts.setup"
VALID_S = 24 * 3600


def first_account_url(base_url: str) -> str | None:
    """A link that makes the first account, valid for a day; None once somebody can administer the installation."""
    if not needs_first_account():
        return None
    token = signing.dumps(secrets.token_urlsafe(16), salt=SALT)
    return base_url.rstrip("/") + reverse("accounts:setup", args=[token])


def is_setup_token(token: str) -> bool:
    try:
        signing.loads(token, salt=SALT, max_age=VALID_S)
    except signing.BadSignature:
        return False
    return True
