"""Turns what people type into a phone column into E.164, or says why it can't be one; and tells a number's zone."""

import re
import unicodedata
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    PhoneNumberType,
)
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

# Excel shows a long number in a narrow column as 6.01E+10 and saves that text: the other digits are gone.
_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?\s*E\s*[+-]?\d+", re.IGNORECASE)
# Spreadsheets and data frames write whole numbers as 60123456789.0; read as digits that is another number.
_WHOLE_FLOAT = re.compile(r"(\+?\d{6,})[.,]0+")
_DOUBLE_ZERO = re.compile(r"00[\s\-().]*(?=[1-9])")
_EXTENSION = re.compile(r"[\s,;]*(?:ext(?:ension)?|x|#)[.:\s]*\d{1,7}$", re.IGNORECASE)
_BETWEEN_NUMBERS = re.compile(r"[/;,|&\n]| or ", re.IGNORECASE)
_PUNCTUATION = str.maketrans("", "", " -()\t")
_SHOWN = 40
_NORTH_AMERICA = "1"
_AREA_MOBILES = ("52", "54", "55", "62")  # countries whose mobile numbers begin with an area code
_DECISIVE = {_NORTH_AMERICA: 3}  # how many digits after the country code tell area and kind; elsewhere 5
_BETTER_KNOWN = {"Asia/Kuching": "Asia/Kuala_Lumpur", "Europe/Guernsey": "Europe/London"}  # the same clocks


class BadPhone(ValueError):
    """Its text is a sentence for the person who made the file."""


def to_e164(text: str, region: str) -> str:
    """The E.164 form of `text`; numbers without a country code are read as numbers of `region` (ISO 3166, "MY").

    The rule, the same for every file: a number is accepted when the numbering plan of its country knows it as
    valid (not merely of a possible length), whatever its kind: fixed lines and mobiles can't be told apart in
    North America, and businesses use WhatsApp on fixed lines. Digits of any script count, as do blanks, dashes,
    dots, brackets, `tel:`, a leading `00` for `+` whatever the country dials, and Excel's `="+60…"`. Refused
    rather than guessed: a number that a spreadsheet shortened (6.01E+10), words, two numbers in one cell.
    Raises BadPhone.
    """
    compact = text.translate(_PUNCTUATION)
    digits = compact.removeprefix("+")
    if digits.isdecimal() and digits.isascii():  # nearly every row; the rest is for what is not plainly a number
        if digits is not compact:
            number = _international(digits)
        elif digits.startswith("00"):
            number = _international(digits[2:])
        else:
            number = _national(digits, region)
        if number is not None:
            return number
        try:
            return _valid(text.strip(), region)
        except NumberParseException:
            pass
    return _untangled(text, region)


class _Plan(NamedTuple):
    """A country's numbering plan as few regular expressions: 3 µs a number where phonenumbers takes 15 to 25.

    It knows plain cases only and otherwise says nothing, so the answer is always the one phonenumbers gives.
    """

    code: str
    valid: dict[int, re.Pattern[str]]  # by length of the national number
    trunk: re.Pattern[str] | None  # what phonenumbers may take off the front of a national number
    abroad: re.Pattern[str]
    zero: bool  # the trunk prefix is a plain 0


@cache
def _plan(code: int) -> _Plan | None:
    regions = COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    if len(regions) != 1 or regions[0] == "001":
        return None
    plan = PhoneMetadata.metadata_for_region(regions[0], None)
    if plan is None or plan.general_desc is None:
        return None
    kinds = (
        plan.premium_rate, plan.toll_free, plan.shared_cost, plan.voip, plan.personal_number,
        plan.pager, plan.uan, plan.voicemail, plan.fixed_line, plan.mobile,
    )  # fmt: skip
    valid = {}
    for length in plan.general_desc.possible_length:
        patterns = [
            kind.national_number_pattern
            for kind in kinds
            if kind and kind.national_number_pattern and length in (kind.possible_length or [length])
        ]
        if patterns:
            general = plan.general_desc.national_number_pattern
            valid[length] = re.compile(f"(?=(?:{general})$)(?:{'|'.join(patterns)})")
    trunk = re.compile(plan.national_prefix_for_parsing) if plan.national_prefix_for_parsing else None
    zero = plan.national_prefix_for_parsing == "0" and not plan.national_prefix_transform_rule
    return _Plan(str(code), valid, trunk, re.compile(plan.international_prefix or "00"), zero)


def _international(digits: str) -> str | None:
    if len(digits) < 4:  # no number, and too short to ask for its country
        return None
    for length in (2, 3):  # +1 and +7 are shared by several countries
        if plan := _plan(int(digits[:length])):
            return _numbered(plan, digits[length:]) if digits.startswith(plan.code) else None
    return None


def _national(digits: str, region: str) -> str | None:
    plan = _plan(phonenumbers.country_code_for_region(region))
    if plan is None or not plan.zero or digits[:1] != "0" or plan.abroad.match(digits):
        return None
    as_it_stands = plan.valid.get(len(digits))
    if as_it_stands and as_it_stands.fullmatch(digits):
        return None
    return _numbered(plan, digits[1:])


def _numbered(plan: _Plan, national: str) -> str | None:
    pattern = plan.valid.get(len(national))
    if pattern is None or national[0] == "0" or (plan.trunk and plan.trunk.match(national)):
        return None
    return f"+{plan.code}{national}" if pattern.fullmatch(national) else None


def _valid(text: str, region: str) -> str:
    if prefix := _DOUBLE_ZERO.match(text):
        # before the country's own prefix: Brazil dials 00 and a carrier, and would read 0041… as another number
        try:
            return _valid("+" + text[prefix.end() :], region)
        except NumberParseException:
            pass
    number = phonenumbers.parse(text, region)
    if not phonenumbers.is_valid_number(number):
        raise NumberParseException(NumberParseException.NOT_A_NUMBER, "not valid")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def _untangled(raw: str, region: str) -> str:
    text = _ordinary(raw)
    if not text:
        raise BadPhone("No phone number")
    if _SCIENTIFIC.fullmatch(text):
        raise BadPhone(
            f"{_shown(text)} was shortened by a spreadsheet and its digits are lost: "
            "format the column as text and save the file again"
        )
    if whole := _WHOLE_FLOAT.fullmatch(text):
        text = whole[1]
    digits = sum(map(str.isdigit, text))
    if sum(sum(map(str.isdigit, part)) > 6 for part in _BETWEEN_NUMBERS.split(text)) > 1:
        raise BadPhone(f"{_shown(text)} holds more than one number")
    if digits > 20 or len(text) > 100:
        raise BadPhone(f"{_shown(text)} is too long for a phone number")
    if not _has_words(text):
        try:
            return _valid(text, region)
        except NumberParseException:
            pass
    raise BadPhone(_why(text, digits, region))


def _ordinary(raw: str) -> str:
    """Full-width digits and signs made ordinary; without the invisible marks that come with copied numbers."""
    text = unicodedata.normalize("NFKC", raw)
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Cc") or c == "\n").strip()


def _has_words(text: str) -> bool:
    """Letters after the first digit: phonenumbers would dial them (1-800-FLOWERS), and reach a stranger."""
    dialled = _EXTENSION.sub("", text).lstrip("'\"=(")
    while dialled and not (dialled[0].isdigit() or dialled[0] == "+"):
        dialled = dialled[1:]
    return sum(map(str.isalpha, dialled)) > 2


def _why(text: str, digits: int, region: str) -> str:
    if digits == 0 or any(map(str.isalpha, text)):
        return f"{_shown(text)} is not a phone number"
    if digits < 7:
        return f"{_shown(text)} is too short for a phone number"
    if text.startswith(("+", "00")):
        return f"{_shown(text)} is not a valid phone number"
    return f"{_shown(text)} is not a valid number in {region}: write it with + and the country code"


def _shown(text: str) -> str:
    return f"“{text}”" if len(text) <= _SHOWN else f"“{text[:_SHOWN]}…”"


def national_digits(phone: str) -> str:
    """What nearly every way to write an E.164 number has in common: its digits without the country's.

    Of a very short one with them, since four digits stand in many other numbers.
    """
    national = phone[1 + len(_country_code(phone[1:4])) :]
    return national if len(national) >= 7 else phone[1:]


def zone_of(phone: str) -> str:
    """The time zone (IANA) of an E.164 number; empty where its region has several clocks, or none is known.

    Landlines, and mobiles where those have area codes, are told by their area; other mobiles by their country.
    Cached by the digits that decide, so that a million numbers cost about a second.
    """
    code = _country_code(phone[1:4])
    one = _zone_of_country(code) if code else ""
    return (
        one if one is not None else _zone_of_area(code, phone[1 : 1 + len(code) + _DECISIVE.get(code, 5)], len(phone))
    )


@cache
def _country_code(digits: str) -> str:
    found = (digits[:length] for length in (1, 2, 3) if digits[:length].isdecimal())
    return next((code for code in found if int(code) in COUNTRY_CODE_TO_REGION_CODE), "")


@cache
def _zone_of_country(code: str) -> str | None:
    """None: its clocks differ."""
    zones = TIMEZONE_DATA.get(code, ())
    return _one_clock(zones) or (None if zones else "")


@lru_cache(maxsize=100_000)
def _zone_of_area(code: str, digits: str, length: int) -> str:
    if code != _NORTH_AMERICA and code not in _AREA_MOBILES:
        try:
            number = phonenumbers.parse("+" + digits.ljust(length - 1, "2"))
        except NumberParseException:
            return ""
        if phonenumbers.number_type(number) != PhoneNumberType.FIXED_LINE:
            return ""
    prefixes = (digits[:length] for length in range(TIMEZONE_LONGEST_PREFIX, 0, -1))
    return next((_one_clock(TIMEZONE_DATA[prefix]) for prefix in prefixes if prefix in TIMEZONE_DATA), "")


@cache
def _one_clock(zones: tuple[str, ...]) -> str:
    """The first of the zones if all show the same time, in January and in July."""
    try:
        clocks = {
            tuple(datetime(2026, month, 1, tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset() for month in (1, 7))
            for zone in zones
        }
    except (ZoneInfoNotFoundError, ValueError):  # "Etc/Unknown"
        return ""
    first = min(zones, default="")
    return _BETTER_KNOWN.get(first, first) if len(clocks) == 1 else ""
