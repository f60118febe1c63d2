"""What the forms of a campaign share: its variants, and what happens when something goes wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.forms.boundfield import BoundField
from django.utils import timezone

from accounts.models import User
from campaigns.actions.drafts import Safety, VariantText, no_caption, variant_texts_of
from campaigns.compose import MAX_SOURCE
from campaigns.forms.message import MessageForm, clean_text
from campaigns.models import Campaign, Failover, UncertainPolicy
from campaigns.shown import duration

LONGEST_H = 8_760
WHOLE = 100
TEXTS = ("text", "text_2", "text_3", "text_4")
SHARES = ("share", "share_2", "share_3", "share_4")


class FailureForm(forms.Form):
    """What happens when a number cannot send, or nobody knows what became of a message."""

    failover = forms.ChoiceField(choices=Failover.choices, initial=Failover.WAIT)
    uncertain_policy = forms.ChoiceField(choices=UncertainPolicy.choices, initial=UncertainPolicy.HOLD)

    @property
    def uncertain_after(self) -> str:
        return duration(settings.UNCERTAIN_AFTER_S)


class ExpiryForm(forms.Form):
    expire_after_h = forms.IntegerField(
        label="Hours until it expires",
        required=False,
        validators=[
            MinValueValidator(1, "At least one hour; empty: never."),
            MaxValueValidator(LONGEST_H, f"At most {LONGEST_H:,} hours, which is a year; empty: never."),
        ],
        error_messages={"invalid": "A whole number of hours; empty: never."},
    )


class SafetyForm(FailureForm, ExpiryForm):
    """What happens when something goes wrong."""

    @staticmethod
    def safety_of(campaign: Campaign) -> dict[str, Any]:
        return {name: getattr(campaign, name) for name in SafetyForm.base_fields}

    def safety(self) -> Safety:
        return Safety(**{name: self.cleaned_data[name] for name in SafetyForm.base_fields})

    @property
    def safety_is_chosen(self) -> bool:
        """Something there is wrong or not as usual: show it unfolded."""
        return any(differs(self[name]) for name in SafetyForm.base_fields)


def differs(field: BoundField) -> bool:
    return bool(field.errors) or (field.value() or None) != field.field.initial


def text_field(label: str) -> forms.CharField:
    return forms.CharField(label=label, required=False, max_length=MAX_SOURCE, strip=False)


def share_field(letter: str) -> forms.IntegerField:
    return forms.IntegerField(
        label=f"Percent that get {letter}",
        required=False,
        min_value=1,
        max_value=99,
        error_messages={
            "invalid": "A whole number of percent.",
            "min_value": "At least 1 percent.",
            "max_value": "At most 99 percent.",
        },
    )


class Line(NamedTuple):
    """A variant as a page shows it."""

    letter: str
    text: BoundField
    share: BoundField


class VariantsForm(MessageForm):
    """A message in up to four variants, each for its share."""

    text_2 = text_field("Variant B")
    text_3 = text_field("Variant C")
    text_4 = text_field("Variant D")
    share = share_field("A")
    share_2 = share_field("B")
    share_3 = share_field("C")
    share_4 = share_field("D")

    def clean(self) -> None:
        super().clean()
        for name in TEXTS[1:]:
            if name in self.cleaned_data:
                try:
                    text = self.cleaned_data[name] = clean_text(self.cleaned_data[name])
                    if problem := no_caption(text, self.chosen):
                        self.add_error(name, problem)
                except ValidationError as error:
                    self.add_error(name, error)
        self._share()

    def _share(self) -> None:
        """Whoever names no share means equal ones."""
        if any(name in self.errors for name in (*TEXTS, *SHARES)):
            return
        used = self._used()
        given = [self.cleaned_data[SHARES[place]] for place in used]
        if len(used) > 1 and any(given) and (None in given or sum(given) != WHOLE):
            total = sum(share or 0 for share in given)
            self.add_error(SHARES[0], f"The shares add up to {total} percent. Together they must be {WHOLE}.")

    def _used(self) -> list[int]:
        return [place for place, name in enumerate(TEXTS) if place == 0 or self.cleaned_data[name]]

    def variant_texts(self) -> list[VariantText] | None:
        """As they are to be saved; None where something is wrong with one of them."""
        if any(name in self.errors for name in (*TEXTS, *SHARES)):
            return None
        used = self._used()
        each, over = divmod(WHOLE, len(used))
        return [
            VariantText(
                self.cleaned_data[TEXTS[place]],
                (self.cleaned_data[SHARES[place]] if len(used) > 1 else None) or each + (turn < over),
            )
            for turn, place in enumerate(used)
        ]

    @property
    def lines(self) -> list[Line]:
        return [Line(chr(ord("A") + at), self[TEXTS[at]], self[SHARES[at]]) for at in range(len(TEXTS))]

    @property
    def others_are_chosen(self) -> bool:
        """There is a second variant, or something is wrong with one: show them unfolded."""
        return any(line.text.value() or line.text.errors or line.share.errors for line in self.lines[1:]) or bool(
            self["share"].errors
        )


class RunningForm(VariantsForm, SafetyForm):
    """What can still be changed after the start. A test keeps its number of variants, and their shares."""

    def __init__(self, by: User, *args: Any, campaign: Campaign, **kwargs: Any) -> None:
        kwargs["initial"] = {**message_of(campaign), **self.safety_of(campaign)}
        super().__init__(campaign.workspace, by, *args, chosen=campaign.content.media, **kwargs)
        self.campaign = campaign
        self.wanted = max(campaign.variants.count(), 1)
        for name in (*TEXTS[self.wanted :], *SHARES):
            del self.fields[name]

    def clean(self) -> None:
        super().clean()
        for name in TEXTS[1 : self.wanted]:
            if name in self.cleaned_data and not self.cleaned_data[name] and self.chosen is None:
                self.add_error(name, "Write this variant too: who gets which is decided already.")

    def _share(self) -> None:
        """They stay."""

    @property
    def lines(self) -> list[Line]:
        return [Line(chr(ord("A") + at), self[name], self[name]) for at, name in enumerate(TEXTS[: self.wanted])]

    @property
    def others(self) -> list[str]:
        return [self.cleaned_data[name] for name in TEXTS[1 : self.wanted]]

    def clean_expire_after_h(self) -> int | None:
        hours, began = self.cleaned_data["expire_after_h"], self.campaign.launched_at
        if hours is not None and hours != self.campaign.expire_after_h and began is not None:
            gone = (timezone.now() - began).total_seconds()
            if hours * 3600 <= gone:
                raise ValidationError(f"It started {duration(gone)} ago: this time has passed.")
        return hours


def message_of(campaign: Campaign) -> dict[str, Any]:
    media, variant_texts = campaign.content.media, variant_texts_of(campaign)
    shares = [variant.share for variant in variant_texts] if len(variant_texts) > 1 else []
    return {
        **dict(zip(TEXTS, [variant.text for variant in variant_texts], strict=False)),
        **dict(zip(SHARES, shares, strict=False)),
        "media_uuid": str(media.uuid) if media else "",
    }
