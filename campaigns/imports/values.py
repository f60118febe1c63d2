"""Cells of columns that hold more than text: numbers, dates, yes or no, prospect or customer."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation

_YES = frozenset(("yes", "y", "true", "1", "on", "x", "ya", "ja", "sí", "si", "oui", "sim", "是"))
_NO = frozenset(("no", "n", "false", "0", "off", "tidak", "nein", "non", "não", "nao", "否"))
_CUSTOMER = frozenset(("customer", "client", "buyer", "pelanggan", "kunde", "cliente", "客户"))
_PROSPECT = frozenset(("prospect", "lead", "prospek", "interessent", "prospecto", "潜在客户"))
_THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\.\d+|[-+]?\d{1,3}(?:,\d{3}){2,}")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,(?:\d{1,2}|\d{4,})")
_TIME_AFTER = re.compile(r"[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?$")
_WITH_YEAR_LAST = re.compile(r"(\d{1,2})([./-])(\d{1,2})\2(\d{4})")


def number(text: str) -> str:
    """A plain decimal number. Refused rather than guessed: "1,234" is one or a thousand. Raises ValueError."""
    plain = text.replace("\u00a0", "").replace(" ", "")
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    elif _DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    try:
        value = Decimal(plain) if plain.isascii() and "_" not in plain else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or abs(value) >= Decimal(10) ** 20:
        raise ValueError("is not a number like 1234.5")
    digits = f"{value:.10f}".rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def day(text: str) -> str:
    """A date as ISO text; a time of day after it is left away. Raises ValueError for 02/03/2026: March or February?"""
    plain = _TIME_AFTER.sub("", text)
    try:
        if found := _WITH_YEAR_LAST.fullmatch(plain):
            first, last, year = int(found[1]), int(found[3]), int(found[4])
            if first <= 12 and last <= 12 and first != last and found[2] != ".":  # dots are written day first
                raise ValueError
            month, in_month = (first, last) if last > 12 else (last, first)
            return date(year, month, in_month).isoformat()
        if len(plain) != 10:
            raise ValueError
        return date.fromisoformat(plain.replace("/", "-").replace(".", "-")).isoformat()
    except ValueError:
        raise ValueError("is not a date like 2026-01-31") from None


def yes_or_no(text: str) -> str:
    word = text.casefold()
    if word not in _YES and word not in _NO:
        raise ValueError("is neither yes nor no")
    return "yes" if word in _YES else "no"


def status(text: str) -> str:
    """A `ContactStatus`. Raises ValueError."""
    word = text.casefold().removesuffix("s")
    if word not in _CUSTOMER and word not in _PROSPECT:
        raise ValueError("is neither prospect nor customer")
    return "customer" if word in _CUSTOMER else "prospect"


OF_KIND: dict[str, Callable[[str], str]] = {"number": number, "date": day, "boolean": yes_or_no}
