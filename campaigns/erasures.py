"""What is kept of people who were erased: a keyed digest of the number, so that no import brings them back."""

from __future__ import annotations

from django.utils.crypto import salted_hmac


def digest(phone: str) -> str:
    """HMAC-SHA256 of the number (E.164) in hex, as `Erasure.digest` keeps it. Keyed by SECRET_KEY."""
    return salted_hmac("campaigns.erasures", phone, algorithm="sha256").hexdigest()
