"""Where the owner's clients find what calls need, if the owner named it: a TURN relay, LiveKit.

Credentials are made for a day from a secret that the relay knows too (the TURN REST API).
"""

import base64
import hashlib
import hmac
from pathlib import Path

from homeserver import errors
from homeserver.config import VoipSettings
from homeserver.matrix.canonical_json import JsonObject
from homeserver.ports import Clock, Entropy

_NAME_BYTES = 8


class Relay:
    """Gives credentials for the relay."""

    def __init__(
        self, settings: VoipSettings, clock: Clock, entropy: Entropy, directory: Path
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._directory = directory

    def transports(self) -> list[JsonObject]:
        """The service through which several people call each other (MSC4143), or none."""
        url = self._settings.livekit_service_url
        return [] if url is None else [{"type": "livekit", "livekit_service_url": url}]

    def credentials(self) -> JsonObject:
        """What a client needs to use it. Raises NotFound where there is none.

        The name in them is made up, so that the relay does not learn who calls.

        Spec: client-server-api#get_matrixclientv3voipturnserver
        """
        if not self._settings.turn_urls or self._settings.turn_secret_file is None:
            raise errors.NotFound("No relay for calls is set up here.")
        secret = (self._directory / self._settings.turn_secret_file).read_text("utf-8").strip()
        lifetime_s = self._settings.turn_lifetime_seconds
        expires_at = self._clock.now_ms() // 1_000 + lifetime_s
        name = f"{expires_at}:{self._entropy.token_bytes(_NAME_BYTES).hex()}"
        password = hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()
        return {
            "username": name,
            "password": base64.b64encode(password).decode(),
            "uris": list(self._settings.turn_urls),
            "ttl": lifetime_s,
        }
