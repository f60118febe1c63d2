"""A thread with a database connection of its own, for the event loop to await."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connection

P = ParamSpec("P")
R = TypeVar("R")


class DatabaseThread:
    """Runs one call at a time. A connection that failed is closed, so that the next call opens a new one."""

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, lambda: self._call(work, *args, **kwargs))

    @staticmethod
    def _call(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except (OperationalError, InterfaceError):
            connection.close()
            raise

    def close(self) -> None:
        self._pool.submit(lambda: connection.close())  # looked up there: each thread has its own
        self._pool.shutdown(wait=True)
