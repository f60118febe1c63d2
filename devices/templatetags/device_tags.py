"""How templates ask about a device: its state in words, what it used of its caps, its pairing."""

from __future__ import annotations

from django import template

from devices import shown, warm_up

register = template.Library()
register.filter("shown", shown.shown)
register.filter("pairing_end", shown.pairing_end)
register.filter("queue_words", shown.queue_words)
register.filter("fours", shown.fours)
register.filter("spelled", shown.spelled)
register.filter("used_today", shown.used_today)
register.filter("used_this_hour", shown.used_this_hour)
register.filter("held", shown.held)
register.filter("refusal", shown.refusal)
register.filter("cap_today", warm_up.cap_today)
register.filter("rung", warm_up.rung)


@register.simple_tag
def ladder() -> tuple[int, ...]:
    return warm_up.LADDER
