"""The cache: hints in Redis, whose absence is a miss and never an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.cache.backends.redis import RedisCache
from redis.exceptions import RedisError


class JSONSerializer:
    """Django's own would unpickle: whoever can write to Redis could then run any code here."""

    def dumps(self, value: Any) -> bytes | int:
        if type(value) is int:  # as Redis counts, for `incr`
            return value
        return json.dumps(value).encode()

    def loads(self, data: bytes) -> Any:
        return json.loads(data)


def hint(answer: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Answer `answer` (or the caller's own default) while Redis can't be asked."""

    def decorate(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def inner(self: RedisCache, *args: Any, **kwargs: Any) -> Any:
            try:
                return method(self, *args, **kwargs)
            except (RedisError, ValueError, RecursionError):  # away, or what lies there is not ours
                return kwargs.get("default", answer)

        return inner

    return decorate


class HintCache(RedisCache):
    add = hint(False)(RedisCache.add)
    delete = hint(False)(RedisCache.delete)
    delete_many = hint(None)(RedisCache.delete_many)
    get_many = hint({})(RedisCache.get_many)
    has_key = hint(False)(RedisCache.has_key)
    set = hint(None)(RedisCache.set)
    set_many = hint([])(RedisCache.set_many)
    touch = hint(False)(RedisCache.touch)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        try:
            return super().get(key, default, version)
        except (RedisError, ValueError, RecursionError):
            return default

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        try:
            return int(super().incr(key, delta, version))
        except RedisError:
            raise ValueError(f"Key {key!r} not found") from None  # what a cache says of a key it doesn't hold
