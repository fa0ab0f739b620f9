"""Hash and check passwords with argon2id: in a thread, one at a time, so that memory is bounded."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from homeserver import errors

ResultT = TypeVar("ResultT")

# 19 MiB and about 22 ms of one core for each try.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)

# Checked in vain for users who do not exist, so that they take as long as those who do.
_NOBODYS_HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$LcFo8j83HIMtFAuN61ALRQ"
    "$bvFbLEMAyIMG5bXeeuYxdj5hIChmPeHRW4kL38Og5Bw"
)

_LENGTH_LIMIT = 1_024
_WAITING_LIMIT = 20


class Passwords:
    """The one place where passwords are hashed."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """Hash a new password."""
        check_usable(password)
        return await self._run_alone(lambda: _HASHER.hash(password))

    async def is_right(self, password: str, password_hash: str | None) -> bool:
        """Whether the password belongs to the hash; None always takes as long, and is wrong."""
        text = password[:_LENGTH_LIMIT]
        matches = await self._run_alone(lambda: _matches(password_hash or _NOBODYS_HASH, text))
        return matches and password_hash is not None and text == password

    async def _run_alone(self, work: Callable[[], ResultT]) -> ResultT:
        if self._waiting >= _WAITING_LIMIT:
            raise errors.LimitExceeded(1_000)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work)
        finally:
            self._waiting -= 1


def hash_at_once(password: str) -> str:
    """Hash a password where there is no event loop yet, as when a server is set up."""
    check_usable(password)
    return _HASHER.hash(password)


def check_usable(password: str) -> None:
    """Refuse what nobody can log in with."""
    if not password or len(password) > _LENGTH_LIMIT:
        raise errors.InvalidParam(f"A password has 1 to {_LENGTH_LIMIT} characters.")


def _matches(password_hash: str, password: str) -> bool:
    try:
        return _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
