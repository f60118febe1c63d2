"""The control actions: what a test makes phones, people and the network do, and what it asks the server."""

from __future__ import annotations

from base64 import b64decode
from fnmatch import fnmatchcase
from typing import Any

from . import content
from .devices import Device
from .hub import QR_CODES, Hub
from .linking import Linking
from .media import HOST
from .people import People
from .rules import Rule
from .wire import Jid

# the smallest picture there is: one pixel
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


class Controls:
    """Each public method is an action; README.md lists them. `phone` may be a pattern where several can be meant."""

    def __init__(self, hub: Hub, linking: Linking, people: People, environment: dict[str, str]) -> None:
        self._hub, self._people, self._environment = hub, people, environment
        self.scan, self.enter_code = linking.scan, linking.enter_code

    # ------------------------------------------------------------------------------------ what it knows

    def environment(self) -> dict[str, str]:
        """What a client process must be started with, besides its own."""
        return self._environment

    def state(self) -> dict[str, Any]:
        hub = self._hub
        return {
            "online": [connection.name for connection in hub.online.values()],
            "unpaired": len(hub.unpaired),
            "devices": [str(device.jid) for device in hub.linked()],
            "rules": hub.rules.describe(),
            "counts": dict(hub.journal.counts),
        }

    def messages(self, clear: bool = False) -> list[dict[str, Any]]:
        """Those from linked devices, as their recipients read them."""
        seen = list(self._hub.journal.messages)
        if clear:
            self._hub.journal.messages.clear()
        return seen

    def events(self, last: int = 200) -> list[dict[str, Any]]:
        return list(self._hub.journal.events)[-last:]

    def uploads(self) -> list[dict[str, Any]]:
        return list(self._hub.media.uploads)

    # ----------------------------------------------------------------------------------- what people do

    def rules(self, rules: list[dict[str, Any]]) -> None:
        self._hub.rules.listed = [Rule.of(rule) for rule in rules]

    def people(self, **does: Any) -> None:
        """What everybody does whom no rule names."""
        self._hub.rules.people = Rule.of(does)

    def text(self, phone: str, sender: str, text: str, quoted: str | None = None) -> list[str]:
        """`sender` writes to the devices of `phone`; `quoted` is the id of the message it answers. Gives the ids."""
        return [
            self._people.write(device, sender, content.text_message(text, quoted, str(device.lid.bare)))
            for device in self._devices(phone)
        ]

    def media(
        self,
        phone: str,
        sender: str,
        kind: str = "image",
        caption: str = "",
        mimetype: str = "image/png",
        data: str = PIXEL,
    ) -> list[str]:
        """Like text: an image, video, audio or document, its bytes in base64; the client can download it."""
        if kind not in content.MEDIA:
            raise ValueError(f"kind is one of {', '.join(content.MEDIA)}")
        sealed = content.seal_media(kind, b64decode(data))
        direct_path = self._hub.media.keep(sealed.sealed)
        url = f"https://{HOST}{direct_path}"
        message = content.media_message(kind, sealed, url, direct_path, mimetype, caption)
        return [self._people.write(device, sender, message, media_type=kind) for device in self._devices(phone)]

    def receipt(self, phone: str, sender: str, ids: list[str], kind: str | None = None) -> None:
        for device in self._devices(phone):
            self._people.receipt(device, Jid.hidden(sender), ids, kind)

    def _devices(self, phone: str) -> list[Device]:
        """Linked ones, online or not: what is sent to them waits."""
        return [device for device in self._hub.linked() if fnmatchcase(device.phone, phone)]

    def logout(self, phone: str) -> None:
        """The user removes the phone's linked devices."""
        for device in self._devices(phone):
            device.removed = True
        self.stream_error(phone, "401", "device_removed")

    def link_limit(self, phone: str, devices: int | None = None) -> None:
        """How many linked devices this phone allows (WhatsApp: 4); None for any number."""
        if devices is None:
            self._hub.link_limits.pop(phone, None)
        else:
            self._hub.link_limits[phone] = devices

    # ------------------------------------------------------------------------------ what the network does

    def qr_codes(self, count: int = QR_CODES) -> None:
        """How many codes a client that wants to be linked gets from now on: it gives up when they are used up."""
        self._hub.qr_codes = count

    def drop(self, phone: str = "*", unpaired: bool = False) -> int:
        """Cut connections; gives how many."""
        cut = self._hub.connections(phone) + (list(self._hub.unpaired) if unpaired else [])
        for connection in cut:
            connection.close(abort=True)
        return len(cut)

    def stream_error(self, phone: str, code: str | None = None, conflict: str | None = None) -> None:
        """conflict: replaced or device_removed; code: 503, 401, 515 or anything."""
        for connection in self._hub.connections(phone):
            self._hub.stream_error(connection, code, conflict)

    def fail_login(self, phone: str, attrs: dict[str, Any] | None = None) -> None:
        """Attributes of <failure>, e.g. {"reason": 402, "code": 101, "expire": 3600}; None to allow again."""
        if attrs:
            self._hub.login_failures[phone] = attrs
        else:
            self._hub.login_failures.pop(phone, None)

    def refuse(self, status: int | None = None) -> None:
        """An HTTP status for every new websocket, None to accept again."""
        self._hub.refuse = status

    def silent(self, on: bool) -> None:
        """Swallow everything without an answer, as a dead network path would."""
        self._hub.silent = on
