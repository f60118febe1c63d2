"""Work beside one's own: a second thread with a connection of its own, so that PostgreSQL uses a second core."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from django.db import connection

Hand = Callable[[Callable[[], None]], "Future[None]"]


@contextmanager
def second_hand() -> Iterator[Hand]:
    """What does a piece of work beside, one after the other. The block ends when all of it has.

    Inside a transaction there is no beside, since another connection would not see what was done in it: the work is
    done at once.
    """
    if connection.in_atomic_block:
        yield _at_once
        return
    with ThreadPoolExecutor(1, "second hand") as thread:
        asked = False

        def beside(work: Callable[[], None]) -> Future[None]:
            nonlocal asked
            asked = True
            return thread.submit(work)

        try:
            yield beside
        finally:
            if asked:
                thread.submit(_close)


def _close() -> None:
    connection.close()  # looked up by the thread that asks


def _at_once(work: Callable[[], None]) -> Future[None]:
    work()
    done: Future[None] = Future()
    done.set_result(None)
    return done
