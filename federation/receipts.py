"""A mark that each frame of ours carries inside Olm, and that its receiver quotes to us.

Only this data directory can make it, so whoever quotes one of a frame that we do not remember has
read that frame: we are an old copy. The key is the same for ever, after a restore as well.
"""

import hashlib
import hmac

from federation.envelope import RECEIPT_BYTES
from homeserver.keyring import Keyring


def receipt_of(keyring: Keyring, node_id: str, life: bytes, direction: str, sequence: int) -> bytes:
    """The receipt for one frame to a peer; sequences count anew in each life of a connection."""
    said = f"{direction}/{life.hex()}/{sequence}".encode()
    return hmac.digest(keyring.derive("receipts", node_id), said, hashlib.sha256)[:RECEIPT_BYTES]
