"""How templates ask about a device: its state in words, what it used of its caps, its pairing."""

from __future__ import annotations

from django import template

from devices import shown, warm_up

register = template.Library()
register.filter("shown", shown.shown)
register.filter("pairing_end", shown.pairing_end)
register.filter("used_today", shown.used_today)
register.filter("used_this_hour", shown.used_this_hour)
register.filter("event_word", shown.event_word)
register.filter("event_colour", shown.event_colour)
register.filter("event_detail", shown.event_detail)
register.filter("held", shown.held)
register.filter("cap_today", warm_up.cap_today)
register.filter("rung", warm_up.rung)


@register.simple_tag
def ladder() -> tuple[int, ...]:
    return warm_up.LADDER
