"""Who was erased: known again by a keyed digest of the number, which tells nobody the number."""

from __future__ import annotations

from django.conf import settings
from django.utils.crypto import salted_hmac


def digest(phone: str, key: str | None = None) -> str:
    """The 64 hexadecimal digits that `Erasure` keeps of a number (E.164), made with the key of now or another."""
    return salted_hmac(key_salt="flotilla.erasure", value=phone, secret=key, algorithm="sha256").hexdigest()


def digests(phone: str) -> list[str]:
    """By the key of now and by those of before (`SECRET_KEY_FALLBACKS`): whoever was erased stays known."""
    return [digest(phone, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]
