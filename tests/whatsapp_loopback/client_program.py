"""A process with real neonize clients that a test drives by lines of JSON (clients.py is the other end).

Commands come on stdin, one at a time: connecting or stopping a client while another one does takes the library down.
Events and answers leave on stdout, each a marked line.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from ctypes import string_at
from pathlib import Path
from typing import Any

from neonize import events
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils import build_jid

from .clients import MARK
from .neonize_client import connect, open_client


class Program:
    def __init__(self) -> None:
        self._clients: dict[str, Any] = {}
        self._received: dict[str, Any] = {}

    def run(self) -> None:
        for line in sys.stdin:
            command = json.loads(line)
            try:
                answer = getattr(self, command.pop("do"))(**command)
                self._tell(command["client"], "answer", value=answer)
            except Exception as error:  # the test decides whether it was to be expected
                self._tell(command["client"], "answer", error=str(error))
        os._exit(0)  # the library's threads would keep the process

    @staticmethod
    def _tell(client: str, event: str, **details: Any) -> None:
        line = json.dumps({"client": client, "event": event, **details})
        os.write(1, f"\n{MARK}{line}\n".encode())

    def connect(self, client: str) -> None:
        wa = self._clients[client] = open_client(Path(client))
        told: dict[Any, Any] = {
            events.PairStatusEv: lambda e: ("paired", {"phone": e.ID.User, "error": e.Error}),
            events.ConnectedEv: lambda e: ("connected", {}),
            events.DisconnectedEv: lambda e: ("disconnected", {}),
            events.LoggedOutEv: lambda e: ("logged out", {}),
            events.StreamReplacedEv: lambda e: ("replaced", {}),
            events.ReceiptEv: lambda e: (
                "receipt",
                {"ids": list(e.MessageIDs), "kind": e.ReceiptType.Name(e.Type).lower()},
            ),
            events.UndecryptableMessageEv: lambda e: ("undecryptable", {"id": e.Info.ID}),
            events.MessageEv: self._message,
        }
        for kind, describe in told.items():
            wa.event(kind)(lambda _, event, describe=describe: self._report(client, describe(event)))
        wa.event.qr(lambda _, code: self._tell(client, "qr", code=code.decode()))
        # how a linking ended is told to this method alone; all it does with the address of a C string is to print it
        wa._NewClient__onLoginStatus = lambda _, address: self._tell(client, "link", how=string_at(address).decode())
        connect(wa, lambda why: self._tell(client, "ended", why=why))

    def _report(self, client: str, told: tuple[str, dict[str, Any]]) -> None:
        self._tell(client, told[0], **told[1])

    def _message(self, event: Any) -> tuple[str, dict[str, Any]]:
        self._received[event.Info.ID] = event.Message
        message = event.Message
        kind = next(
            (kind for kind in ("image", "video", "audio", "document") if message.HasField(f"{kind}Message")), ""
        )
        media = getattr(message, f"{kind}Message") if kind else None
        quoting = message.extendedTextMessage
        return "message", {
            "id": event.Info.ID,
            "kind": kind or "text",
            "text": (getattr(media, "caption", "") if kind else message.conversation) or quoting.text,
            "quoted": quoting.contextInfo.stanzaID,
            "sender": event.Info.MessageSource.SenderAlt.User,
        }

    def request_code(self, client: str, phone: str) -> str:
        return str(self._clients[client].PairPhone(phone, True))

    def send(self, client: str, to: str, text: str, secret: str = "") -> str:
        message = Message(conversation=text)
        if secret:
            message.messageContextInfo.messageSecret = bytes.fromhex(secret)
        return str(self._clients[client].send_message(build_jid(to), message).ID)

    def send_image(self, client: str, to: str, data: str, caption: str) -> str:
        return str(self._clients[client].send_image(build_jid(to), bytes.fromhex(data), caption=caption).ID)

    def download(self, client: str, message: str) -> str:
        """SHA-256 of a received file."""
        data = self._clients[client].download_any(self._received[message])
        return hashlib.sha256(data).hexdigest()

    def exists(self, client: str, phone: str) -> bool:
        return bool(self._clients[client].is_on_whatsapp(phone)[0].IsIn)

    def logout(self, client: str) -> None:
        self._clients[client].logout()

    def stop(self, client: str) -> None:
        self._clients[client].stop()


if __name__ == "__main__":
    Program().run()
