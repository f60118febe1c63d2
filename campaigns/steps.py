"""The steps in which a campaign is written, and how far a draft has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.utils import timezone

from campaigns.compose import TextError, parse
from campaigns.models import Campaign

AUDIENCE, MESSAGE, DEVICES, WHEN, REVIEW = "audience", "message", "devices", "when", "review"
STEPS = (AUDIENCE, MESSAGE, DEVICES, WHEN)
LABELS = {
    AUDIENCE: "Audience",
    MESSAGE: "Message",
    DEVICES: "Devices and pace",
    WHEN: "When",
    REVIEW: "Review",
}


@dataclass(frozen=True, slots=True)
class Step:
    """``done``: somebody saved it, and nothing is missing there."""

    key: str
    number: int
    label: str
    done: bool
    current: bool


def steps_of(campaign: Campaign | None, current: str) -> list[Step]:
    """All of them with their marks; None: a campaign that was not saved yet."""
    done = set(done_steps(campaign)) if campaign else set()
    return [Step(key, place, LABELS[key], key in done, key == current) for place, key in enumerate(LABELS, 1)]


def next_step(campaign: Campaign) -> str:
    """Where to go on writing: the first step that is not done; the first of all when all are."""
    done = set(done_steps(campaign))
    return next((key for key in STEPS if key not in done), AUDIENCE)


def after(key: str) -> str:
    return [*STEPS, REVIEW][STEPS.index(key) + 1]


def done_steps(campaign: Campaign) -> Iterator[str]:
    for place, key in enumerate(STEPS, 1):
        if campaign.steps_done >= place and is_complete(campaign, key):
            yield key


def is_complete(campaign: Campaign, key: str) -> bool:
    if key == AUDIENCE:
        chosen = campaign.tag_links.filter(excluded=False), campaign.segment_links.filter(excluded=False)
        return campaign.everyone or campaign.retarget_of_id is not None or any(links.exists() for links in chosen)
    if key == MESSAGE:
        return says_something(campaign)
    if key == DEVICES:
        return campaign.device_links.exists()
    return campaign.start_at is None or campaign.start_at > timezone.now()


def says_something(campaign: Campaign) -> bool:
    """Each of its texts can be used, and none is empty where there is no file."""
    texts = list(campaign.variants.values_list("content__text", flat=True)) or [campaign.content.text]
    try:
        for text in texts:
            parse(text)
    except TextError:
        return False
    return campaign.content.media_id is not None or all(text.strip() for text in texts)
