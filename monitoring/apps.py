"""The monitoring app's configuration."""

from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    name = "monitoring"
