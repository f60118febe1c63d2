"""What people reply: noted once, tied to the message that caused it; a request to stop is honoured at once."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db import IntegrityError, connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from campaigns.actions.direct import confirm_stop, direct_stream
from campaigns.actions.suppression import suppress
from campaigns.engine.stop_words import asks_to_stop
from campaigns.models import Contact, Message, MessageState, Reply, ReplyKind, Stream, SuppressionSource, WireId
from devices.gateway.contract import Incoming
from devices.models import Device

ASKED_TO_STOP = "asked to stop in a reply"
E164 = re.compile(r"\+[1-9]\d{6,14}")
MAY_HAVE_LEFT = (MessageState.SENDING, MessageState.UNCERTAIN, MessageState.ASSUMED)
WORDLESS = (ReplyKind.REACTION, ReplyKind.LOCATION, ReplyKind.CONTACT)  # their text is nothing that the person wrote

INSERT_SQL = """
INSERT INTO campaigns_reply
    (workspace_id, device_id, contact_id, message_id, phone, chat, wire_id, kind, text, at)
SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                     %s::text[], %s::text[], %s::timestamptz[])
ON CONFLICT (device_id, wire_id) DO NOTHING
RETURNING device_id, wire_id
"""

LAST_REPLY_SQL = """
UPDATE campaigns_contact c SET last_reply_at = h.at
FROM unnest(%s::bigint[], %s::timestamptz[]) AS h(contact_id, at)
WHERE c.id = h.contact_id AND (c.last_reply_at IS NULL OR c.last_reply_at < h.at)
"""

REPLIED_SQL = """
UPDATE campaigns_message m SET replied_at = now() FROM campaigns_stream s
WHERE m.id = ANY(%s) AND m.replied_at IS NULL AND s.id = m.stream_id
RETURNING m.stream_id, m.campaign_id, s.device_id
"""


class Noted(NamedTuple):
    """``campaigns``: the ids of those whose figures changed. ``replied``: device → its messages replied to only now."""

    campaigns: set[int]
    replied: Counter[int]


@dataclass(frozen=True, slots=True)
class Heard:
    """One incoming message and what we know of it; ``phone`` is empty where nobody tells it."""

    device: Device
    wire_id: str
    chat: str
    kind: str
    text: str
    at: datetime
    phone: str
    contact: Contact | None
    cause: Message | None

    @property
    def asks_to_stop(self) -> bool:
        return bool(self.phone) and self.kind not in WORDLESS and asks_to_stop(self.text)


def note_incoming(incoming: Sequence[Incoming]) -> Noted:
    """Write these messages down, each once, with all that follows from it; a repeat changes nothing.

    What PostgreSQL refuses takes the others of the call with
    it: the caller gives fewer at once then. Where a person or a device vanished meanwhile it is understood anew, once.
    """
    try:
        return _note(incoming)
    except IntegrityError:
        return _note(incoming)


@transaction.atomic
def _note(incoming: Sequence[Incoming]) -> Noted:
    # Locks in the order of everywhere: people by number, devices, streams by id.
    fresh = _insert(_lock_people(_understand(incoming)))
    _note_last_replies(fresh)
    # Whoever asks again had the answer before: it goes with the suppression that is new.
    stops = [heard for heard in sorted(fresh, key=lambda heard: heard.phone) if heard.asks_to_stop]
    stopped = [
        heard
        for heard in stops
        if suppress(heard.device.workspace, heard.phone, SuppressionSource.REPLY, ASKED_TO_STOP, None)
    ]
    _count_for_warming(fresh)
    causes = [heard.cause for heard in fresh if heard.cause]
    concerned = {direct_stream(heard.device).pk for heard in stopped} | {cause.stream_id for cause in causes}
    Stream.objects.filter(pk__in=concerned).lock()
    for heard in stopped:
        confirm_stop(heard.device, heard.phone, heard.contact)
    return _mark_replied(causes)


# ---------------------------------------------------------------------------------------- what was heard


def _understand(incoming: Iterable[Incoming]) -> list[Heard]:
    """With a query for each kind of knowledge, however many were heard."""
    known = {(one.device, one.id): one for one in incoming}
    devices = Device.objects.select_related("workspace").in_bulk({device for device, _ in known})
    told = [one for one in known.values() if one.device in devices]
    quoted = _quoted(told)
    phones = [_phone_of(one, quoted.get((one.device, one.quoted))) for one in told]
    contacts = {
        (contact.workspace_id, contact.phone): contact
        for contact in Contact.objects.filter(
            workspace__in={device.workspace_id for device in devices.values()}, phone__in=set(filter(None, phones))
        )
    }
    people = [contacts.get((devices[one.device].workspace_id, phone)) for one, phone in zip(told, phones, strict=True)]
    last = _last_sent(devices, people)
    found = []
    for one, phone, contact in zip(told, phones, people, strict=True):
        cause = quoted.get((one.device, one.quoted))
        if cause is None or cause.phone != phone:  # whoever quotes what somebody else was sent replies to nothing
            cause = last.get((one.device, contact.pk)) if contact else None
        kind = one.kind if one.kind in ReplyKind else ReplyKind.OTHER.value
        text = one.text.replace("\0", "")[: Reply.TEXT_LENGTH]
        found.append(Heard(devices[one.device], one.id, one.chat, kind, text, _instant(one.at), phone, contact, cause))
    return found


def _quoted(told: Sequence[Incoming]) -> dict[tuple[int, str], Message]:
    """(device, id on the wire) of a quoted message → that message, where this device sent it."""
    quoted = {one.quoted for one in told if one.quoted and "\0" not in one.quoted}
    named = WireId.objects.filter(device_id__in={one.device for one in told}, wire_id__in=quoted) if quoted else []
    by_wire = {(name.device_id, name.wire_id): name.message_id for name in named}
    messages = Message.objects.in_bulk(by_wire.values())
    return {wire: messages[message] for wire, message in by_wire.items() if message in messages}


def _phone_of(one: Incoming, quoted: Message | None) -> str:
    """WhatsApp does not always tell the number: then it is that of whom this device wrote to in the same chat."""
    if E164.fullmatch(one.sender):
        return one.sender
    if quoted is not None:
        return quoted.phone
    if "\0" in one.chat:
        return ""
    written = Message.objects.filter(stream__device=one.device, chat=one.chat)
    return next(iter(written.values_list("phone", flat=True)[:1]), "")


def _last_sent(devices: Iterable[int], people: Sequence[Contact | None]) -> dict[tuple[int, int], Message]:
    """(device, contact) → the last message sent to this person from this device.

    A reply may come before the acknowledgement is written, or where it was lost.
    """
    contacts = {contact.pk for contact in people if contact}
    left = Q(sent_at__isnull=False) | Q(state__in=MAY_HAVE_LEFT)
    sent = Message.objects.filter(left, contact__in=contacts, stream__device__in=list(devices))
    sent = sent.annotate(left_at=Coalesce("sent_at", "attempted_at"))
    newest = sent.order_by("stream__device", "contact", "-left_at", "-pk").distinct("stream__device", "contact")
    return {(message.stream.device_id, message.contact_id or 0): message for message in newest.select_related("stream")}


def _instant(at: float) -> datetime:
    """What cannot be a time, or lies ahead, is taken for now."""
    now = timezone.now()
    if not math.isfinite(at) or not 0 < at < (now + timedelta(days=1)).timestamp():
        return now
    return datetime.fromtimestamp(at, UTC)


# ------------------------------------------------------------------------------------- what follows from it


def _insert(heard: Sequence[Heard]) -> list[Heard]:
    """Those that nobody had noted before."""
    if not heard:
        return []
    rows = [
        (
            one.device.workspace_id,
            one.device.pk,
            one.contact.pk if one.contact else None,
            one.cause.pk if one.cause else None,
            one.phone,
            one.chat,
            one.wire_id,
            one.kind,
            one.text,
            one.at,
        )
        for one in heard
    ]
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, [list(column) for column in zip(*rows, strict=True)])
        new = set(cursor.fetchall())
    return [one for one in heard if (one.device.pk, one.wire_id) in new]


def _lock_people(heard: Sequence[Heard]) -> list[Heard]:
    """Whoever was deleted or erased meanwhile is nobody's contact any more, and what they replied names nobody."""
    people = Contact.objects.filter(pk__in={one.contact.pk for one in heard if one.contact}).order_by("phone")
    there = set(people.select_for_update(no_key=True).values_list("pk", flat=True))
    return [
        one if one.contact is None or one.contact.pk in there else replace(one, contact=None, cause=None)
        for one in heard
    ]


def _note_last_replies(fresh: Sequence[Heard]) -> None:
    if people := {heard.contact.pk: heard.at for heard in sorted(fresh, key=lambda heard: heard.at) if heard.contact}:
        with connection.cursor() as cursor:
            cursor.execute(LAST_REPLY_SQL, [list(people), list(people.values())])


def _count_for_warming(fresh: Sequence[Heard]) -> None:
    replies = Counter(heard.device.pk for heard in fresh)
    warming = Device.objects.filter(pk__in=replies, warm_cap__isnull=False)
    for device_id in warming.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True):
        Device.objects.filter(pk=device_id).update(warm_replies=F("warm_replies") + replies[device_id])


def _mark_replied(causes: Sequence[Message]) -> Noted:
    """Each message counts once, however much was replied."""
    if not causes:
        return Noted(set(), Counter())
    with connection.cursor() as cursor:
        cursor.execute(REPLIED_SQL, [[cause.pk for cause in causes]])
        marked = cursor.fetchall()
    for stream_id, replied in Counter(stream for stream, _, _ in marked).items():
        Stream.objects.filter(pk=stream_id).update(replied=F("replied") + replied)
    return Noted({campaign for _, campaign, _ in marked if campaign}, Counter(device for _, _, device in marked))
