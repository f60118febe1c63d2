"""Counts tries to sign in, by account and by source, in PostgreSQL: an emptied Redis forgets none of them.

And what strangers ask of public pages, by source, and what members ask of hosts.
"""

from __future__ import annotations

import ipaddress

from allauth.core.internal.httpkit import get_client_ip
from django.db import connection
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from accounts.models import LoginThrottle
from accounts.tenancy import beyond_workspace

TRIES_PER_ACCOUNT = 10
TRIES_PER_SOURCE = 100  # an office shares one address
CHOICES_PER_SOURCE = 300  # on the opt-out page; the phones of a whole country may share one address
LOOKS_PER_SOURCE = 3_000  # at wall links: each screen of an office asks every ten seconds
CHECKS_A_MINUTE = 6  # of how hosts are, by one person: each has every host look at its devices
WINDOW = "15 minutes"
WINDOW_S = 900

# A try takes its place before the password is looked at, so that many at once can't all slip in below the limit.
TAKE = """
INSERT INTO accounts_loginthrottle AS seen (key, window_start, count) VALUES (%(key)s, now(), 1)
ON CONFLICT (key) DO UPDATE SET
    count = CASE WHEN seen.window_start < now() - %(window)s::interval THEN 1 ELSE seen.count + 1 END,
    window_start = CASE WHEN seen.window_start < now() - %(window)s::interval THEN now() ELSE seen.window_start END
WHERE seen.count < %(limit)s OR seen.window_start < now() - %(window)s::interval
RETURNING seen.count
"""
GIVE_BACK = "UPDATE accounts_loginthrottle SET count = greatest(count - 1, 0) WHERE key = ANY(%s)"
FORGET = "DELETE FROM accounts_loginthrottle WHERE window_start < now() - %s::interval"


def take_try(email: str, source: str) -> bool:
    """Whether this try may go on. It counts as failed until `give_back`; unknown accounts count like known ones."""
    return _take(source_key(source), TRIES_PER_SOURCE) and _take(account_key(email), TRIES_PER_ACCOUNT)


def take_choice(source: str) -> bool:
    """Whether one more choice on a public page may come from this source now."""
    return _take(source_key(source).replace("source:", "choice:", 1), CHOICES_PER_SOURCE)


def take_look(source: str) -> bool:
    """Whether one more look at a wall link may come from this source now."""
    return _take(source_key(source).replace("source:", "look:", 1), LOOKS_PER_SOURCE)


def take_check(user_id: int) -> bool:
    """Whether this person may have hosts asked once more within this minute. In a workspace's scope or outside."""
    with beyond_workspace():
        return _take(f"check:{user_id}", CHECKS_A_MINUTE, "1 minute")


def source_of(request: HttpRequest) -> str:
    """A server that listens on a Unix socket knows no address: such requests count as one source."""
    return get_client_ip(request) or "unknown"


def give_back(email: str, source: str) -> None:
    """The try was good: it no longer counts. Earlier failures still do, so signing in between guesses frees nothing."""
    with connection.cursor() as cursor:
        cursor.execute(GIVE_BACK, [[source_key(source), account_key(email)]])


def forget_account(email: str) -> None:
    """Somebody reset the password by mail: that account starts afresh."""
    LoginThrottle.objects.filter(key=account_key(email)).delete()


def forget_old() -> int:
    """Remove the counts whose window has passed; for the clock."""
    with connection.cursor() as cursor:
        cursor.execute(FORGET, [WINDOW])
        return cursor.rowcount


def account_key(email: str) -> str:
    return "account:" + _hashed(email.strip().lower())


def source_key(source: str) -> str:
    """Whoever has an IPv6 address has a whole /64 of them."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return "source:" + _hashed(source)
    if address.version == 6:
        source = str(ipaddress.ip_network((address, 64), strict=False))
    return "source:" + _hashed(source)


def _hashed(value: str) -> str:
    return salted_hmac("accounts.throttle", value, algorithm="sha256").hexdigest()


def _take(key: str, limit: int, window: str = WINDOW) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"key": key, "limit": limit, "window": window})
        return cursor.fetchone() is not None
