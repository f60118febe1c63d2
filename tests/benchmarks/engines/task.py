"""The job that everybody writes first: select the row, send, wait for the answer, update the row.

It checks that the row is still pending and renders the person's text; it paces nothing, counts nothing and journals
no attempt before it sends, so it makes one commit a message where our engine makes two shared by many.
"""

from __future__ import annotations

import os
import socket
import threading
from functools import lru_cache

import django

django.setup()

from django.utils import timezone  # noqa: E402

from campaigns.compose import parse, render, variables_for  # noqa: E402
from campaigns.models import Message, MessageState  # noqa: E402
from devices.gateway.contract import Decoder, Event, Send, Sent, encode  # noqa: E402

TAG_BYTES = 32
cached_parse = lru_cache(parse)


class Connection(threading.local):
    """This thread's connection to the session service, kept from job to job."""

    socket: socket.socket | None = None

    def send(self, send: Send) -> Event:
        if self.socket is None:
            fresh = socket.socket(socket.AF_UNIX)
            fresh.connect(os.environ["SESSION_SERVICE"])
            self.socket = fresh
        self.socket.sendall(encode([send]))
        answer: Decoder[Event] = Decoder(Event)
        while data := self.socket.recv(65_536):
            if words := answer.feed(data):
                return words[0]
        raise ConnectionError("the session service hung up")


connection = Connection()


def send_message(message_id: int) -> None:
    """The attempt's tag is the message's id, so that the network's ledger tells what was sent how often."""
    message = Message.objects.select_related("stream", "content", "contact").get(pk=message_id)
    if message.state != MessageState.PENDING or message.contact is None:
        return
    variables = variables_for(message.contact.name, message.phone, message.contact.fields)
    text = render(cached_parse(message.content.text), variables)
    tag = message_id.to_bytes(TAG_BYTES)
    outcome = connection.send(Send(message.stream.device_id, 1, message_id, tag, message.phone, text))
    if not isinstance(outcome, Sent):
        raise ConnectionError(f"message {message_id}: {outcome}")
    Message.objects.filter(pk=message_id).update(
        state=MessageState.SENT, text=text, wire_id=outcome.id, chat=outcome.chat, sent_at=timezone.now()
    )
