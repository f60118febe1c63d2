"""The nouns of a campaign: contacts, their imports, content and its files, campaigns, streams and messages."""

from campaigns.models.campaign import (
    Assignment,
    Campaign,
    CampaignDevice,
    CampaignState,
    CampaignTag,
    Failover,
    UncertainPolicy,
)
from campaigns.models.contact import Contact, ContactStatus, ContactTag, Suppression, SuppressionSource, Tag
from campaigns.models.contact_import import ContactImport, ImportChunk, ImportReject, ImportRow, ImportState
from campaigns.models.contact_move import ContactMove
from campaigns.models.content import Content
from campaigns.models.media import Media, MediaKind
from campaigns.models.message import Attempt, Message, MessageState, Uncertain, WireId
from campaigns.models.number_check import GOOD_FOR, CheckRun, NumberCheck
from campaigns.models.reply import Reply, ReplyKind
from campaigns.models.stream import Lane, Stream

__all__ = [
    "GOOD_FOR",
    "Assignment",
    "Attempt",
    "Campaign",
    "CampaignDevice",
    "CampaignState",
    "CampaignTag",
    "CheckRun",
    "Contact",
    "ContactImport",
    "ContactMove",
    "ContactStatus",
    "ContactTag",
    "Content",
    "Failover",
    "ImportChunk",
    "ImportReject",
    "ImportRow",
    "ImportState",
    "Lane",
    "Media",
    "MediaKind",
    "Message",
    "MessageState",
    "NumberCheck",
    "Reply",
    "ReplyKind",
    "Stream",
    "Suppression",
    "SuppressionSource",
    "Tag",
    "Uncertain",
    "UncertainPolicy",
    "WireId",
]
