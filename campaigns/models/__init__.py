"""The nouns of a campaign: contacts, their imports, content and its files, campaigns, streams and messages."""

from campaigns.engine.lifecycle import OPEN, UNFINISHED
from campaigns.models.campaign import (
    Assignment,
    Campaign,
    CampaignDevice,
    CampaignSegment,
    CampaignState,
    CampaignTag,
    Failover,
    Retarget,
    UncertainPolicy,
    Variant,
)
from campaigns.models.consent import ConsentEntry, ConsentKind
from campaigns.models.contact import (
    Contact,
    ContactStatus,
    ContactTag,
    Erasure,
    GlobalSuppression,
    Suppression,
    SuppressionSource,
    Tag,
)
from campaigns.models.contact_change import ON_PEOPLE, ContactChange, Deed
from campaigns.models.contact_import import (
    ContactImport,
    ImportChunk,
    ImportReject,
    ImportRow,
    ImportState,
    UpdatePolicy,
)
from campaigns.models.contact_move import ContactMove
from campaigns.models.content import Content, Template
from campaigns.models.media import Media, MediaKind
from campaigns.models.message import Attempt, Message, MessageState, Uncertain, WireId
from campaigns.models.meter import TIME_BOUNDS_MS, DayMeter, HourMeter, Meter, MeterTotal, MinuteMeter
from campaigns.models.number_check import GOOD_FOR, CheckRun, NumberCheck
from campaigns.models.reply import Reply, ReplyKind
from campaigns.models.segment import CustomField, FieldKind, Segment
from campaigns.models.stream import NO_VARIANT, NOBODYS, Lane, Stream

__all__ = [
    "GOOD_FOR",
    "NOBODYS",
    "NO_VARIANT",
    "ON_PEOPLE",
    "OPEN",
    "TIME_BOUNDS_MS",
    "UNFINISHED",
    "Assignment",
    "Attempt",
    "Campaign",
    "CampaignDevice",
    "CampaignSegment",
    "CampaignState",
    "CampaignTag",
    "CheckRun",
    "ConsentEntry",
    "ConsentKind",
    "Contact",
    "ContactChange",
    "ContactImport",
    "ContactMove",
    "ContactStatus",
    "ContactTag",
    "Content",
    "CustomField",
    "DayMeter",
    "Deed",
    "Erasure",
    "Failover",
    "FieldKind",
    "GlobalSuppression",
    "HourMeter",
    "ImportChunk",
    "ImportReject",
    "ImportRow",
    "ImportState",
    "Lane",
    "Media",
    "MediaKind",
    "Message",
    "MessageState",
    "Meter",
    "MeterTotal",
    "MinuteMeter",
    "NumberCheck",
    "Reply",
    "ReplyKind",
    "Retarget",
    "Segment",
    "Stream",
    "Suppression",
    "SuppressionSource",
    "Tag",
    "Template",
    "Uncertain",
    "UncertainPolicy",
    "UpdatePolicy",
    "Variant",
    "WireId",
]
