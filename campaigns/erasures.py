"""Who was erased: known again by a keyed digest of the number, which tells nobody the number."""

from __future__ import annotations

from django.utils.crypto import salted_hmac


def digest(phone: str) -> str:
    """The 64 hexadecimal digits that `Erasure` keeps of a number (E.164)."""
    return salted_hmac(key_salt="flotilla.erasure", value=phone, algorithm="sha256").hexdigest()
