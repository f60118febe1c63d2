"""Jobs of the clock's timetable."""

from __future__ import annotations

from accounts.throttle import forget_old


def forget_old_tries() -> None:
    forget_old()
