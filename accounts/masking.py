"""What logs and pages show in place of passwords, secret links and phone numbers. Standard library only."""

from __future__ import annotations

import re

PASSWORD = re.compile(r"^((?:[a-z]+://)?[^:/@]*):(?!//).*@", re.DOTALL)
PASSWORD_OPTION = re.compile(r"([?&](?:ssl)?password=)[^&]*")
# Links that let their reader in, or speak for somebody: first account, new password, confirmed address, opt-out, wall.
SECRET_LINK = re.compile(r"(/setup/|/o/|/wall/|/password/reset/key/|/confirm-email/)[^/\s\"']+")
# Dates and UUIDs come first so that their digits are passed over; a phone number is 8 to 15 digits, + or not, with the
# blanks, hyphens and brackets people write.
LIKE_A_PHONE = re.compile(
    r"(?P<keep>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?)"
    r"|(?<![0-9A-Za-z])(?<!\d\.)\+?\(?\d(?:[ ()-]{0,2}\d){7,14}(?![0-9A-Za-z])",
    re.IGNORECASE,
)


def mask_url(url: str) -> str:
    """The URL with its password starred out; also safe for values that are no URL at all."""
    return PASSWORD_OPTION.sub(r"\1***", PASSWORD.sub(r"\1:***@", url))


def mask_links(text: str) -> str:
    """The text with the secret part of every link that lets somebody in starred out."""
    return SECRET_LINK.sub(r"\1***", text)


def mask_phones(text: str) -> str:
    """The text with all but the first 3 and last 2 digits of every phone number starred out."""
    return LIKE_A_PHONE.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    if found["keep"]:
        return found[0]
    digits = "".join(character for character in found[0] if character.isdigit())
    return f"{'+' if found[0].startswith('+') else ''}{digits[:3]}{'*' * (len(digits) - 5)}{digits[-2:]}"
