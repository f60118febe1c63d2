"""Results that are dear or shared: each with the time it was found."""

from __future__ import annotations

from django.db import models


class Kept(models.Model):
    """`audit`: the last audit of the ledger. `look`: what was found last. `totals`: what hours gone by come to."""

    name = models.CharField(max_length=20, primary_key=True)
    at = models.DateTimeField()
    value = models.JSONField(default=dict)

    def __str__(self) -> str:
        return self.name
