"""A heartbeat: that a program other than an engine lives. Engines say it by their lease."""

from __future__ import annotations

from django.db import models


class Heartbeat(models.Model):
    """One process: written every few seconds, deleted at an orderly end; a killed one falls silent."""

    name = models.CharField(max_length=120, primary_key=True, help_text="kind@machine:process")
    kind = models.CharField(max_length=20, help_text="web, worker or clock")
    machine = models.CharField(max_length=80)
    started_at = models.DateTimeField()
    at = models.DateTimeField()
    told = models.JSONField(default=dict, help_text="What it said of itself.")

    def __str__(self) -> str:
        return self.name
