"""Alerts: what needs a person for how long, what was told of it by e-mail, and who wants to be told."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import models

from accounts.models import Role
from accounts.tenancy import TenantModel

REPEATS = (timedelta(hours=1), timedelta(hours=4), timedelta(days=1))  # after the first word; then daily
QUIET = timedelta(minutes=5)  # of one thing nothing more is told within so long, however often it comes and goes
TOLD = (Role.OWNER, Role.MANAGER)  # roles that may be told


class Alert(TenantModel):
    """One rule's word about one object, while it is so and for a while after, as it may come again.

    ``due_at`` is when the next word is due: the first, a repetition, or that it is over; empty: nothing to tell.
    """

    rule = models.CharField(max_length=24)
    about = models.CharField(max_length=60, blank=True)
    title = models.CharField(max_length=240)
    text = models.CharField(max_length=600)
    url = models.CharField(max_length=400, blank=True)
    since = models.DateTimeField()
    seen_at = models.DateTimeField()
    told = models.PositiveIntegerField(default=0, help_text="How often, of this time that it is so.")
    told_at = models.DateTimeField(null=True, blank=True, help_text="The last word of all, also of an earlier time.")
    ended_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "rule", "about"], name="one_alert_per_object")]
        indexes = [models.Index(fields=["due_at"], name="alerts_due", condition=models.Q(due_at__isnull=False))]

    def __str__(self) -> str:
        return self.title

    def first_word_at(self, lasts: timedelta) -> datetime:
        """``lasts``: how long the rule waits. Never sooner than `QUIET` after the last word of an earlier time."""
        first = self.since + lasts
        return max(first, self.told_at + QUIET) if self.told_at else first

    def again_at(self) -> datetime:
        """The repetition after the last word."""
        assert self.told_at is not None
        return self.told_at + REPEATS[min(max(self.told, 1), len(REPEATS)) - 1]


class AlertChoice(TenantModel):
    """Whether a member wants alerts by e-mail; without a row owners do, and others do not."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    wanted = models.BooleanField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["workspace", "user"], name="one_choice_per_member")]

    def __str__(self) -> str:
        return f"{self.user_id} {'wants' if self.wanted else 'wants no'} alerts"
