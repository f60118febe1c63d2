"""The cast: Alice owns the workspace, Bob looks on, Charlie is a stranger with a workspace of his own, Sam is staff."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.test import Client

if TYPE_CHECKING:  # pytest reads this file before Django is set up: models are imported where they are used
    from accounts.models import User, Workspace


@pytest.fixture
def alice(db: None) -> User:
    from tests.factories import make_user

    return make_user("alice@example.com")


@pytest.fixture
def workspace(alice: User) -> Workspace:
    from tests.factories import make_workspace

    return make_workspace(alice, name="Alice's shop")


@pytest.fixture
def bob(workspace: Workspace) -> User:
    from tests.factories import make_member

    return make_member(workspace, "viewer", email="bob@example.com")


@pytest.fixture
def charlie(db: None) -> User:
    from tests.factories import make_user, make_workspace

    charlie = make_user("charlie@example.com")
    make_workspace(charlie, name="Charlie's shop")
    return charlie


@pytest.fixture
def sam(db: None) -> User:
    from tests.factories import make_user

    return make_user("sam@example.com", is_staff=True)


@pytest.fixture
def sign_in() -> Callable[[User], Client]:
    def signed_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return signed_in
