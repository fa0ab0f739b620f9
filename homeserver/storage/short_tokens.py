"""Tokens that live for minutes: to log another client in, or to show somebody who one is.

Stored as SHA-256 hashes only, like access tokens.
"""

from sqlalchemy import BigInteger, Column, LargeBinary, String, Table, delete, func, select

from homeserver.matrix.identifiers import UserId
from homeserver.storage.tables import metadata
from homeserver.storage.unit_of_work import UnitOfWork, View

# Tokens nobody used must not fill the disk.
MOST_TOKENS = 100

short_tokens = Table(
    "short_tokens",
    metadata,
    Column("token_hash", LargeBinary, primary_key=True),
    Column("purpose", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
)


def save_token(
    work: UnitOfWork, token_hash: bytes, purpose: str, user_id: UserId, expires_at: int
) -> None:
    """Let a token count until a moment."""
    work.insert(
        short_tokens,
        token_hash=token_hash,
        purpose=purpose,
        user_id=user_id,
        expires_at=expires_at,
    )


def count_tokens(view: View) -> int:
    """How many there are, expired ones included."""
    return int(view.scalar(select(func.count()).select_from(short_tokens)))


def find_user(view: View, token_hash: bytes, purpose: str, now_ms: int) -> UserId | None:
    """Whose token this is, if it still counts."""
    found: UserId | None = view.scalar(
        select(short_tokens.c.user_id).where(
            short_tokens.c.token_hash == token_hash,
            short_tokens.c.purpose == purpose,
            short_tokens.c.expires_at > now_ms,
        )
    )
    return found


def delete_token(work: UnitOfWork, token_hash: bytes) -> None:
    """Let it count no more."""
    work.execute(delete(short_tokens).where(short_tokens.c.token_hash == token_hash))


def delete_expired(work: UnitOfWork, now_ms: int) -> None:
    """Forget those whose time is over."""
    work.execute(delete(short_tokens).where(short_tokens.c.expires_at <= now_ms))


def delete_tokens_of(work: UnitOfWork, user_id: UserId) -> None:
    """Forget every token of a user."""
    work.execute(delete(short_tokens).where(short_tokens.c.user_id == user_id))
