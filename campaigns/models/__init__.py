"""The nouns of a campaign: contacts, their imports, content, campaigns, streams and messages."""

from campaigns.models.campaign import Campaign, CampaignDevice, CampaignState, CampaignTag
from campaigns.models.contact import Contact, ContactStatus, ContactTag, Tag
from campaigns.models.contact_import import ContactImport, ImportChunk, ImportReject, ImportRow, ImportState
from campaigns.models.content import Content
from campaigns.models.message import Attempt, Message, MessageState, WireId
from campaigns.models.stream import Lane, Stream

__all__ = [
    "Attempt",
    "Campaign",
    "CampaignDevice",
    "CampaignState",
    "CampaignTag",
    "Contact",
    "ContactImport",
    "ContactStatus",
    "ContactTag",
    "Content",
    "ImportChunk",
    "ImportReject",
    "ImportRow",
    "ImportState",
    "Lane",
    "Message",
    "MessageState",
    "Stream",
    "Tag",
    "WireId",
]
