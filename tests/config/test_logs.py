"""The log: JSON lines in UTC that name the request, the user and the workspace, and no phone number in full."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from io import StringIO
from logging.config import dictConfig
from typing import Any

import pytest
import structlog
from django.test import Client

from accounts.masking import mask_phones
from config.logs import logging_settings


class Lines:
    def __init__(self, stream: StringIO) -> None:
        self.stream = stream

    def read(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Lines]:
    """What the configured handler writes, beside pytest's own."""
    stream = StringIO()
    made = logging_settings("INFO")
    config = dictConfig
    root = logging.getLogger()
    before = root.handlers[:]
    config({**made, "root": {"level": "INFO", "handlers": ["stderr"]}})
    handler = root.handlers[-1]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(stream)
    yield Lines(stream)
    root.handlers = before


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("+60123456789", "+601******89"),
        ("60123456789", "601******89"),
        ("to +60 12-345 6789 now", "to +601******89 now"),
        ("60123456789@s.whatsapp.net", "601******89@s.whatsapp.net"),
        ("Key (phone)=(+447700900123) already exists", "Key (phone)=(+447*******23) already exists"),
        ("tel:0123456789", "tel:012*****89"),
        ("+1 (202) 555-0123", "+120******23"),
        ("2026-11-23T18:24:00.123456Z", "2026-11-23T18:24:00.123456Z"),
        ("2026-11-23 18:24:00", "2026-11-23 18:24:00"),
        ("/devices/01234567-0123-0123-0123-012345678901/", "/devices/01234567-0123-0123-0123-012345678901/"),
        ("took 0.123456789 s", "took 0.123456789 s"),
        ("port 8000, 15 devices", "port 8000, 15 devices"),
        ("127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_phone_number_keeps_its_first_three_and_last_two_digits(text: str, shown: str) -> None:
    assert mask_phones(text) == shown


def test_numbers_are_masked_in_every_value_of_every_logger(log: Lines) -> None:
    structlog.get_logger("ours").info("sent to +60123456789", contact={"phones": ["60123456789"]}, jid="60123456789@s")
    logging.getLogger("django.request").warning("nobody at %s", "+60123456789")
    logging.getLogger("rq.worker").error("job for 60123456789 failed")
    try:
        raise ValueError("+60123456789 is known")
    except ValueError:
        logging.getLogger("anything").exception("import of +60123456789")
    lines = log.read()
    assert len(lines) == 4
    assert "60123456789" not in json.dumps(lines)
    assert lines[0]["contact"] == {"phones": ["601******89"]}
    assert "ValueError: +601******89 is known" in lines[3]["exception"]


@pytest.mark.parametrize("path", ["/setup/", "/accounts/password/reset/key/", "/accounts/confirm-email/", "/wall/"])
def test_a_link_that_lets_somebody_in_is_not_in_the_log(log: Lines, path: str) -> None:
    structlog.get_logger("web").info("request_finished", request=f"GET {path}s3cret-t0ken:x/")
    logging.getLogger("django.request").warning("Not Found: %s", f"{path}s3cret-t0ken")
    lines = log.read()
    assert [line["event"] for line in lines] == ["request_finished", f"Not Found: {path}***"]
    assert lines[0]["request"] == f"GET {path}***/"


def test_a_line_is_json_in_utc_with_level_logger_and_process(log: Lines) -> None:
    logging.getLogger("campaigns.sender").warning("slow")
    (line,) = log.read()
    assert line["event"] == "slow"
    assert line["level"] == "warning"
    assert line["logger"] == "campaigns.sender"
    assert line["timestamp"].endswith("Z")
    assert line["process"]


@pytest.mark.django_db
def test_a_request_is_one_line_with_its_ids(log: Lines, client: Client) -> None:
    from tests.factories import make_workspace

    workspace = make_workspace()
    client.force_login(workspace.owner)
    client.get("/devices/")
    (line,) = [line for line in log.read() if line["event"] == "request_finished"]
    assert line["request_id"]
    assert line["user_id"] == workspace.owner.pk
    assert line["workspace_id"] == workspace.pk
    assert line["request"] == "GET /devices/"
