"""The accounts app: who you are, your workspace, what you may hear."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
