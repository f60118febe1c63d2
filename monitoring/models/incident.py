"""An incident: some part of the installation did not work as it should, from when to when."""

from __future__ import annotations

from django.db import models


class Incident(models.Model):
    part = models.CharField(max_length=20)
    state = models.CharField(max_length=8, choices=[("warn", "Needs a look"), ("bad", "Does not work")])
    since = models.DateTimeField()
    until = models.DateTimeField(null=True, blank=True, help_text="Empty while it lasts.")
    sentence = models.CharField(max_length=300)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["part"], condition=models.Q(until__isnull=True), name="one_open_incident_per_part"
            )
        ]
        indexes = [models.Index(fields=["-since"], name="incidents_by_time")]

    def __str__(self) -> str:
        return f"{self.part} {self.state} since {self.since:%Y-%m-%d %H:%M}"
