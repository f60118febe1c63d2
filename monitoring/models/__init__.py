"""Alerts, and who wants to hear of them."""

from monitoring.models.alert import Alert, AlertChoice

__all__ = ["Alert", "AlertChoice"]
