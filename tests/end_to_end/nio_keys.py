"""What a matrix-nio user does about keys: comparing words, and a backup on the server.

matrix-nio knows neither requests to verify nor backups; what is missing stands here.
"""

import json
from pathlib import Path
from typing import Any

import nio
import unpaddedbase64
import vodozemac
from nio.crypto import key_export

from homeserver.testing.client import Client
from homeserver.testing.encrypted_client import NioClient, eventually

_ALGORITHM = "m.megolm_backup.v1.curve25519-aes-sha2"
_PASSPHRASE = "between two files"


class NioVerification:
    """Comparing words with somebody, device with device."""

    def __init__(self, person: NioClient) -> None:
        self._client: Any = person.library
        self._requests: list[nio.UnknownToDeviceEvent] = []
        self._client.add_to_device_callback(self._hear, nio.UnknownToDeviceEvent)

    async def ask(self, user_id: str, device_id: str) -> None:
        """Begin, as this library does: without asking first."""
        devices = self._client.device_store
        device = await eventually(lambda: devices[user_id].get(device_id), f"{device_id} known")
        await self._client.start_key_verification(device)

    async def answer_request(self) -> None:
        """Wait for a request, as other libraries send it, and say that we are ready."""
        asked = await eventually(lambda: next(iter(self._requests), None), "a request")
        content = asked.source["content"]
        ready = {
            "from_device": self._client.device_id,
            "methods": ["m.sas.v1"],
            "transaction_id": content["transaction_id"],
        }
        await self._tell("ready", asked.sender, content["from_device"], ready)

    async def accept(self) -> None:
        """Wait until the other has begun, and accept."""
        sas = await self._sas()
        if self._requests:
            _speak_as_specified(sas)
        await self._client.accept_key_verification(sas.transaction_id)

    async def words(self) -> list[str]:
        """What to compare; nio 0.26 itself takes the indices of the words for bytes.

        The pictures stand for them: nio calls three of them by other words than the specification.
        """
        sas = await self._sas()
        await eventually(lambda: sas.established_sas, "the other's key")
        indices = sas.established_sas.bytes(sas._extra_info).emoji_indices
        return [sas.emoji[index][0].replace("\N{VARIATION SELECTOR-16}", "") for index in indices]

    async def confirm(self) -> None:
        """They are the same."""
        sas = await self._sas()
        await self._client.confirm_short_auth_string(sas.transaction_id)

    async def is_done(self) -> bool:
        """Wait until both have confirmed, and say so."""
        sas = await self._sas()
        await eventually(lambda: sas.verified, "the other's confirmation")
        device = sas.other_olm_device
        content = {"transaction_id": sas.transaction_id}
        await self._tell("done", device.user_id, device.id, content)
        return bool(self._client.device_store[device.user_id][device.id].verified)

    async def _sas(self) -> Any:
        return await eventually(
            lambda: next(iter(self._client.key_verifications.values()), None), "a verification"
        )

    async def _tell(self, what: str, user: str, device: str, content: dict[str, Any]) -> None:
        message = nio.ToDeviceMessage(f"m.key.verification.{what}", user, device, content)
        await self._client.to_device(message)

    def _hear(self, event: nio.UnknownToDeviceEvent) -> None:
        if event.type == "m.key.verification.request":
            self._requests.append(event)


def _speak_as_specified(sas: Any) -> None:
    """Correct two things that nio 0.26 says otherwise than every other library.

    Its commitment is hexadecimal, and its MACs are those of the second method under the first
    one's name.
    """
    sas.commitment = unpaddedbase64.encode_base64(bytes.fromhex(sas.commitment))
    sas._mac_normal = "hkdf-hmac-sha256.v2"


async def back_up(person: NioClient, api: Client, directory: Path) -> bytes:
    """Put every room key of a device into a new backup; the key that opens it."""
    decryption = vodozemac.PkDecryption()
    public = decryption.public_key.to_base64()
    auth_data = {"public_key": public, "signatures": {}}
    answer = await api.request(
        "POST",
        "/_matrix/client/v3/room_keys/version",
        {"algorithm": _ALGORITHM, "auth_data": auth_data},
    )
    encryption = vodozemac.PkEncryption.from_key(decryption.public_key)
    rooms: dict[str, Any] = {}
    for session in await exported(person, directory):
        sealed = encryption.encrypt(json.dumps(session).encode())
        ciphertext, mac, ephemeral = (
            unpaddedbase64.encode_base64(part)
            for part in (sealed.ciphertext, sealed.mac, sealed.ephemeral_key)
        )
        key = {
            "first_message_index": 0,
            "forwarded_count": 0,
            "is_verified": True,
            "session_data": {"ciphertext": ciphertext, "mac": mac, "ephemeral": ephemeral},
        }
        sessions = rooms.setdefault(session["room_id"], {"sessions": {}})["sessions"]
        sessions[session["session_id"]] = key
    await api.request(
        "PUT",
        "/_matrix/client/v3/room_keys/keys",
        {"rooms": rooms},
        {"version": answer["version"]},
    )
    secret: Any = decryption  # its type stub knows no key
    return bytes(secret.key.to_bytes())


async def restore(person: NioClient, api: Client, key: bytes, directory: Path) -> int:
    """Read the newest backup and take its keys into a device; how many there were."""
    version = (await api.request("GET", "/_matrix/client/v3/room_keys/version"))["version"]
    got = await api.request(
        "GET", "/_matrix/client/v3/room_keys/keys", parameters={"version": version}
    )
    decryption = vodozemac.PkDecryption.from_key(vodozemac.Curve25519SecretKey.from_bytes(key))
    decode = unpaddedbase64.decode_base64
    sessions = []
    for room in got["rooms"].values():
        for one in room["sessions"].values():
            sealed = one["session_data"]
            message = vodozemac.Message(
                decode(sealed["ciphertext"]), decode(sealed["mac"]), decode(sealed["ephemeral"])
            )
            sessions.append(json.loads(decryption.decrypt(message)))
    file = directory / "restored.txt"
    key_export.encrypt_and_save(json.dumps(sessions).encode(), str(file), _PASSPHRASE, count=1_000)
    await person.library.import_keys(str(file), _PASSPHRASE)
    return len(sessions)


async def exported(person: NioClient, directory: Path) -> list[dict[str, Any]]:
    """Every room key of a device."""
    file = directory / "exported.txt"
    file.unlink(missing_ok=True)
    await person.library.export_keys(str(file), _PASSPHRASE, count=1_000)
    sessions: list[dict[str, Any]] = json.loads(key_export.decrypt_and_read(str(file), _PASSPHRASE))
    return sessions
