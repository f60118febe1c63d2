"""The countries and time zones people choose from, out of the tz database's own tables."""

from __future__ import annotations

import zoneinfo
from functools import cache
from importlib.resources import files

import phonenumbers

# Zones kept for old systems; somebody's city is always among the others.
OLD_AREAS = {"Etc", "Brazil", "Canada", "Chile", "Mexico", "US", "SystemV", "posix", "right"}


@cache
def countries() -> list[tuple[str, str]]:
    """(code, name) of every country whose phone numbers are understood, by name."""
    table = files("tzdata").joinpath("zoneinfo/iso3166.tab").read_text("utf-8")
    rows = (line.split("\t") for line in table.splitlines() if line and not line.startswith("#"))
    known = [(code, name) for code, name in rows if code in phonenumbers.SUPPORTED_REGIONS]
    return sorted(known, key=lambda row: row[1])


@cache
def timezones() -> list[tuple[str, str]]:
    """(zone, words) of every zone named after a place, and UTC."""
    names = {name for name in zoneinfo.available_timezones() if name.partition("/")[2]}
    places = sorted(name for name in names if name.partition("/")[0] not in OLD_AREAS)
    return [("UTC", "UTC"), *((name, name.replace("_", " ")) for name in places)]
