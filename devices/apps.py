"""The devices app's configuration."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "devices"
