"""How often somebody tried to sign in lately, by account and by source address."""

from django.db import models


class LoginThrottle(models.Model):
    """``key`` is a hash of the account or the address; ``count`` are the failures since ``window_start``."""

    key = models.CharField(max_length=80, primary_key=True)
    window_start = models.DateTimeField()
    count = models.PositiveSmallIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.key[:8]}…: {self.count}"
