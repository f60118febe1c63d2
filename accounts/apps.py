"""The accounts app: who you are, your workspace, what you may hear."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import signins  # noqa: F401 - connects its receivers
