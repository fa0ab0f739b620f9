"""What a server finds around it: time, chance, a database, a network. The real ones by default.

A simulation gives its own, and runs the same server on them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from federation.ratchets.interface import Ratchets
from federation.transport.interface import Transport
from homeserver.accounts.passwords import Passwords
from homeserver.media.files import MediaFiles
from homeserver.ports import Clock, Entropy, SystemClock, SystemEntropy
from homeserver.storage.database import Database
from homeserver.storage.wake_ups import WakeUps


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The world of one server. Without a transport it is HTTP; ratchets as the settings say."""

    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = field(default_factory=SystemEntropy)
    open_database: Callable[[str, WakeUps], Database] = Database
    make_passwords: Callable[[], Passwords] = Passwords
    open_files: Callable[[Path, Entropy], MediaFiles] = MediaFiles
    transport: Transport | None = None
    ratchets: Ratchets | None = None
