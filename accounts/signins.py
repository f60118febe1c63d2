"""What the ledger says of people coming and going."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.signals import password_changed, password_reset
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.audit import record
from accounts.models import User, Workspace
from accounts.throttle import forget_account


@receiver(user_logged_in)
def note_login(request: HttpRequest | None, user: User, **kwargs: Any) -> None:
    record(own_workspace(user), user, "login", **source_of(request))


@receiver(user_logged_out)
def note_logout(request: HttpRequest | None, user: User | None, **kwargs: Any) -> None:
    if user is not None:
        record(own_workspace(user), user, "logout", **source_of(request))


@receiver(user_login_failed)
def note_failed_login(credentials: dict[str, Any], request: HttpRequest | None = None, **kwargs: Any) -> None:
    """Refused tries are not noted: the throttle bounds how many of these rows a stranger can cause."""
    email = str(credentials.get("email") or credentials.get("username") or "").strip().lower()[:254]
    user = User.objects.filter(email=email).first()
    workspace = own_workspace(user) if user else None
    record(workspace, None, "login.failed", email=email, **source_of(request))


@receiver(password_changed)
@receiver(password_reset)
def note_new_password(request: HttpRequest, user: User, **kwargs: Any) -> None:
    forget_account(user.email)
    record(own_workspace(user), user, "password.changed", **source_of(request))


def own_workspace(user: User) -> Workspace | None:
    return Workspace.objects.filter(owner=user).first()


def source_of(request: HttpRequest | None) -> dict[str, str]:
    return {"source": get_adapter(request).get_client_ip(request)} if request is not None else {}
