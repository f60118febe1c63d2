"""Who was erased: known again by a keyed digest of the number, which tells nobody the number; and when nobody is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection
from django.utils.crypto import salted_hmac


def digest(phone: str, key: str | None = None) -> str:
    """The 64 hexadecimal digits that `Erasure` keeps of a number (E.164), made with the key of now or another."""
    return salted_hmac(key_salt="flotilla.erasure", value=phone, secret=key, algorithm="sha256").hexdigest()


def digests(phone: str) -> list[str]:
    """By the key of now and by those of before (`SECRET_KEY_FALLBACKS`): whoever was erased stays known."""
    return [digest(phone, key) for key in (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)]


@contextmanager
def no_erasing(workspace: int) -> Iterator[None]:
    """Nobody of this workspace is erased during the block. First waits for an erasing that is under way."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(hashtextextended('erasing', %s))", [workspace])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock_shared(hashtextextended('erasing', %s))", [workspace])


def begin_erasing(workspace: int) -> None:
    """Wait for every `no_erasing` of this workspace; they wait for the end of this transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('erasing', %s))", [workspace])
