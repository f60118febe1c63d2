"""How django-allauth signs people up and in here: who may, how often, and where they land."""

from __future__ import annotations

from typing import Any, cast

from allauth.account.adapter import DefaultAccountAdapter
from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse

from accounts import throttle
from accounts.models import User


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return settings.SIGNUP == "open"

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        user = cast(User, request.user)
        if user.memberships.exists():
            return reverse("monitoring:home")
        return reverse("admin:index") if user.is_staff else reverse("accounts:workspaces")

    def get_signup_redirect_url(self, request: HttpRequest) -> str:
        return self.get_login_redirect_url(request)

    def get_client_ip(self, request: HttpRequest) -> str:
        return throttle.source_of(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        self._tried = (credentials.get("email") or "", self.get_client_ip(request))
        if not throttle.take_try(*self._tried):
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> Any:
        user = super().authenticate(request, **credentials)
        if user:
            throttle.give_back(*self._tried)
        return user
