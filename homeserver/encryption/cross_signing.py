"""Cross-signing: the owner's own signing keys, and signatures between keys.

Spec: client-server-api#cross-signing
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver import errors
from homeserver.encryption import deposits, key_material, key_shapes
from homeserver.matrix import canonical_json, signing
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import UserId, server_of
from homeserver.ports import Requester
from homeserver.storage import accounts, encryption
from homeserver.storage.database import Database
from homeserver.storage.encryption import Signature
from homeserver.storage.unit_of_work import UnitOfWork, View


@dataclass(frozen=True, slots=True)
class _Known:
    """The keys one signature upload is checked against."""

    keys: JsonObject  # as `/keys/query` shows them to the signer
    signers: Mapping[str, str]  # the signer's own public keys by key ID
    user_signing_id: str | None


class CrossSigning:
    """The keys with which the owner vouches for devices and people."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def replaces_keys(self, requester: Requester, keys: Mapping[str, JsonObject]) -> bool:
        """Whether this upload needs the password: it changes keys that are there already.

        `keys` is by usage. The first set of keys, and the same set again, are free.
        """
        checked = _checked(requester.user_id, keys)
        stored = self._database.read(lambda view: _stored(view, requester.user_id))
        return "master" in stored and _changes(stored, checked)

    async def upload(
        self, requester: Requester, keys: Mapping[str, JsonObject], *, is_confirmed: bool
    ) -> None:
        """Store cross-signing keys, by usage; `is_confirmed` if the owner gave the password.

        Spec: client-server-api#post_matrixclientv3keysdevice_signingupload
        """
        user_id = requester.user_id
        checked = _checked(user_id, keys)

        def save(work: UnitOfWork) -> None:
            stored = _stored(work, user_id)
            if not _changes(stored, checked):
                return
            if "master" in stored and not is_confirmed:
                raise errors.Forbidden("There are cross-signing keys already.")
            _check_signed(work, user_id, stored | checked, checked)
            _replace(work, user_id, stored, checked)

        await self._database.write(save)

    async def add_signatures(
        self, requester: Requester, signed: Mapping[str, Mapping[str, Any]]
    ) -> JsonObject:
        """Store what the owner's keys have signed; the failures by user and key.

        Spec: client-server-api#post_matrixclientv3keyssignaturesupload
        """
        return await self._database.write(
            lambda work: _add_signatures(work, requester.user_id, signed)
        )


def _checked(user_id: UserId, keys: Mapping[str, JsonObject]) -> dict[str, bytes]:
    return {
        usage: key_shapes.check_cross_signing_key(key, user_id, usage)
        for usage, key in keys.items()
    }


def _stored(view: View, user_id: UserId) -> dict[str, bytes]:
    return encryption.find_cross_signing_keys(view, [user_id]).get(user_id, {})


def _changes(stored: Mapping[str, bytes], uploaded: Mapping[str, bytes]) -> bool:
    """Whether an upload holds a key we do not have; signatures on it do not matter."""
    return any(
        usage not in stored or _public_key(stored[usage]) != _public_key(key)
        for usage, key in uploaded.items()
    )


def _check_signed(
    work: UnitOfWork, user_id: UserId, keys: Mapping[str, bytes], uploaded: Mapping[str, bytes]
) -> None:
    """The other keys are signed by the master key, and none is named like a device."""
    if "master" not in keys:
        raise errors.MissingParam("There is no master key.")
    master = _public_key(keys["master"])
    for usage, key in uploaded.items():
        if usage == "master":
            continue
        try:
            signing.verify_json(canonical_json.decode(key), user_id, f"ed25519:{master}", master)
        except errors.BadSignature:
            raise errors.InvalidSignature(f"The master key did not sign {usage}.") from None
    devices = {device.device_id for device in accounts.list_devices(work, user_id)}
    if devices & {_public_key(key) for key in uploaded.values()}:
        raise errors.Forbidden("A device has that key as its ID.")


def _replace(
    work: UnitOfWork, user_id: UserId, stored: Mapping[str, bytes], uploaded: Mapping[str, bytes]
) -> None:
    obsolete = [
        _public_key(stored[usage])
        for usage, key in uploaded.items()
        if usage in stored and _public_key(stored[usage]) != _public_key(key)
    ]
    encryption.delete_cross_signing_signatures(work, user_id, obsolete)
    for usage, key in uploaded.items():
        encryption.save_cross_signing_key(work, user_id, usage, key)
    encryption.mark_device_list_changed(work, user_id, server_of(user_id))
    deposits.queue_for_peers(work, user_id)


def _add_signatures(
    work: UnitOfWork, signer_id: UserId, signed: Mapping[str, Mapping[str, Any]]
) -> JsonObject:
    users = [UserId(user) for user in signed]
    known = _known(work, signer_id, users)
    failures: JsonObject = {}
    for user_id in users:
        accepted: list[Signature] = []
        for key_id, uploaded in signed[user_id].items():
            try:
                accepted += _checked_signatures(known, signer_id, (user_id, key_id), uploaded)
            except errors.HomeserverError as error:
                failure = {"errcode": error.errcode, "error": str(error)}
                failures.setdefault(user_id, {})[key_id] = failure
        if accepted:
            encryption.save_signatures(work, accepted)
            encryption.touch_device_list(work, user_id)
            deposits.queue_for_peers(work, user_id)
    return failures


def _known(work: UnitOfWork, signer_id: UserId, users: list[UserId]) -> _Known:
    keys = key_material.gather(work, list({*users, signer_id}), signer_id)
    signers: dict[str, str] = {}
    for device in keys["device_keys"][signer_id].values():
        signers |= {name: key for name, key in device["keys"].items() if name[:8] == "ed25519:"}
    for usage in ("master", "self_signing"):
        if signer_id in keys[f"{usage}_keys"]:
            signers |= keys[f"{usage}_keys"][signer_id]["keys"]
    user_signing = keys["user_signing_keys"].get(signer_id, {"keys": {}})["keys"]
    return _Known(keys, signers | user_signing, next(iter(user_signing), None))


def _checked_signatures(
    known: _Known, signer_id: UserId, target: tuple[UserId, str], uploaded: Any
) -> list[Signature]:
    """The signatures in one signed object that are right; raises where there is none."""
    user_id, key_id = target
    stored = _find_key(known.keys, user_id, key_id)
    if stored is None:
        raise errors.NotFound("There is no such key.")
    if not isinstance(uploaded, dict) or (
        key_material.without_signatures(uploaded) != key_material.without_signatures(stored)
    ):
        raise errors.InvalidSignature("What was signed is not the key that is stored here.")
    key_shapes.check_signatures(uploaded)
    given: Mapping[str, str] = uploaded.get("signatures", {}).get(signer_id, {})
    have = stored.get("signatures", {}).get(signer_id, {})
    if not given:
        raise errors.InvalidSignature("There is no signature of yours.")
    accepted = []
    for signing_key_id in given:
        if given[signing_key_id] == have.get(signing_key_id):
            continue
        if not _may_sign(known, signing_key_id, stored, is_own=user_id == signer_id):
            raise errors.InvalidSignature("That key may not sign this.")
        accepted.append(_verified(known, uploaded, signer_id, target, signing_key_id))
    return accepted


def _may_sign(known: _Known, signing_key_id: str, stored: JsonObject, *, is_own: bool) -> bool:
    """The user-signing key signs other people's master keys, the other keys sign one's own.

    Spec: client-server-api#key-and-signature-security
    """
    is_for_others = signing_key_id == known.user_signing_id
    if is_own:
        return not is_for_others
    return is_for_others and stored == known.keys["master_keys"].get(stored["user_id"])


def _verified(
    known: _Known,
    uploaded: JsonObject,
    signer_id: UserId,
    target: tuple[UserId, str],
    signing_key_id: str,
) -> Signature:
    public = known.signers.get(signing_key_id)
    if public is None:
        raise errors.InvalidSignature("You have no such key.")
    try:
        signing.verify_json(uploaded, signer_id, signing_key_id, public)
    except errors.BadSignature:
        raise errors.InvalidSignature from None
    signature: str = uploaded["signatures"][signer_id][signing_key_id]
    return Signature(*target, signer_id, signing_key_id, signature)


def _find_key(keys: JsonObject, user_id: UserId, key_id: str) -> JsonObject | None:
    """A device by its ID, or a cross-signing key by its public key."""
    device: JsonObject | None = keys["device_keys"].get(user_id, {}).get(key_id)
    if device is not None:
        return device
    for usage in key_material.USAGES:
        key: JsonObject | None = keys[f"{usage}_keys"].get(user_id)
        if key is not None and key_material.public_key(key) == key_id:
            return key
    return None


def _public_key(raw: bytes) -> str:
    return key_material.public_key(canonical_json.decode(raw))
