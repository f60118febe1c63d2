"""The opt-out link: a short signed address of one contact, which never expires and names nobody."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.core import signing
from django.urls import reverse
from django.utils.crypto import salted_hmac

from campaigns.compose import variables_in

VARIABLE = "opt_out_link"
SIGNATURE_BYTES = 16
UNUSABLE = "The opt-out link cannot be used: this installation does not know its own address (SITE_URL)."


class ShortSigner(signing.Signer):
    """128 bits as letters and digits: Django's own 43 characters may end in a sign that chats cut off a link."""

    def signature(self, value: str | bytes, key: str | bytes | None = None) -> str:
        digest = salted_hmac(self.salt, value, key or self.key, algorithm="sha256").digest()
        return signing.b62_encode(int.from_bytes(digest[:SIGNATURE_BYTES]))


def _signer() -> ShortSigner:
    return ShortSigner(sep=".", salt="flotilla.opt-out")


def token_for(contact: UUID) -> str:
    return _signer().sign(signing.b62_encode(contact.int))


def contact_of(token: str) -> UUID | None:
    """The uuid that this token was made for, whether or not there is still such a contact; None: we never made it."""
    try:
        return UUID(int=signing.b62_decode(_signer().unsign(token)))
    except (signing.BadSignature, ValueError):
        return None


def link_for(contact: UUID) -> str:
    """What a message says for ``{{ opt_out_link }}``."""
    return settings.SITE_URL + reverse("campaigns:opt_out", args=[token_for(contact)])


def problem_in(text: str) -> str:
    """Why a text cannot use the link here; empty where it can, or does not. Raises `TextError`."""
    return UNUSABLE if not settings.SITE_URL_IS_SET and VARIABLE in variables_in(text) else ""
