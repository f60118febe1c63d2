"""A server and a process of real neonize clients, both for a whole test session; people and network behave again
after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.whatsapp_loopback.clients import Client, Clients
from tests.whatsapp_loopback.control import Control
from tests.whatsapp_loopback.patch import Prepared, prepare
from tests.whatsapp_loopback.server import LoopbackServer

HERE = Path(__file__).parent
_phones = count(62_812_000_001)
LinkOne = Callable[[], Client]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.neonize)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return prepare(tmp_path_factory.mktemp("whatsapp-loopback"))


@pytest.fixture(scope="session")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ledger") / "ledger.log"


@pytest.fixture(scope="session")
def server(prepared: Prepared, ledger: Path) -> Iterator[LoopbackServer]:
    server = LoopbackServer(prepared, ledger=ledger).start_in_thread()
    yield server
    server.stop_thread()


@pytest.fixture
def loopback(server: LoopbackServer) -> Iterator[Control]:
    control = Control(server.port)
    yield control
    control.rules(rules=[])
    control.people()
    control.refuse()
    control.qr_codes()
    assert not [event for event in control.events() if event["event"] == "error"]


@pytest.fixture(scope="session")
def processes(prepared: Prepared, server: LoopbackServer) -> Iterator[Clients]:
    clients = Clients(prepared.env(server.port))
    yield clients
    clients.close()


@pytest.fixture
def new_client(processes: Clients, tmp_path: Path) -> LinkOne:
    """Clients on session files that are not there yet."""
    numbers = count(1)
    return lambda: processes.client(tmp_path / f"{next(numbers)}.session")


@pytest.fixture
def phone() -> str:
    return str(next(_phones))


def link(loopback: Control, client: Client, phone: str) -> Client:
    client.connect()
    loopback.scan(qr=client.expect("qr")["code"], phone=phone, prekeys=100)
    client.expect("connected")
    return client


@pytest.fixture
def client(loopback: Control, new_client: LinkOne, phone: str) -> Iterator[Client]:
    """Linked to `phone` and online."""
    client = link(loopback, new_client(), phone)
    yield client
    client.ask("stop")


@pytest.fixture
def second_client(loopback: Control, new_client: LinkOne) -> Iterator[tuple[Client, str]]:
    """With the number it is linked to."""
    number = str(next(_phones))
    client = link(loopback, new_client(), number)
    yield client, number
    client.ask("stop")
