"""Tokens that whoever has them is let in by: how they are made, and how they are stored."""

import hashlib
from base64 import urlsafe_b64encode

from homeserver.ports import Entropy

_BYTES = 32


def make(entropy: Entropy) -> str:
    """A token that nobody can guess."""
    return urlsafe_b64encode(entropy.token_bytes(_BYTES)).decode().rstrip("=")


def hashed(token: str) -> bytes:
    """What is stored of a token: whoever reads the database cannot use it."""
    # What is not UTF-8 in a header arrives as lone surrogates; it must be a wrong token, no crash.
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
