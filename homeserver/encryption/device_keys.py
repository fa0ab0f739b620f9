"""Answer which devices people have, and hand out keys to write to them.

Answers never wait for a sleeping peer: what peers left with us is answered at once.

Spec: client-server-api#device-keys, server-server-api#end-to-end-encryption
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from homeserver import errors
from homeserver.encryption import (
    deposits,
    key_material,
    key_shapes,
    peer_deposits,
    peer_lists,
    reports,
)
from homeserver.matrix import canonical_json
from homeserver.matrix.canonical_json import JsonObject
from homeserver.matrix.identifiers import (
    DeviceId,
    ServerName,
    UserId,
    is_user_id,
    server_of,
)
from homeserver.ports import Clock, PeerNetwork, Requester
from homeserver.rooms import veils
from homeserver.storage import accounts, encryption, moves
from homeserver.storage.database import Database
from homeserver.storage.unit_of_work import UnitOfWork, View

# Clients wait for this before they send; a peer that is awake answers in far less.
_PATIENCE_S = 1.0
_USERS_LIMIT = 1_000
_REPORTED_LIMIT = 1_000


# The algorithm of the key that is wanted for each device.
_Claims = Mapping[UserId, Mapping[DeviceId, str]]


class DeviceKeys:
    """Device keys of the owner and of the people the owner talks to."""

    def __init__(
        self, database: Database, peers: PeerNetwork, clock: Clock, server_name: ServerName
    ) -> None:
        self._database = database
        self._peers = peers
        self._clock = clock
        self._server_name = server_name
        self._reported: dict[tuple[UserId, DeviceId], int] = {}

    async def query(self, requester: Requester, asked: Mapping[str, Sequence[str]]) -> JsonObject:
        """Answer for every user asked: from the store, or from a peer that is awake.

        A user that is missing makes clients ask again and again; one whose map is empty is taken
        to have no devices for ever. So a peer's user is either known or its server a failure; and
        what is no user ID at all has no devices, rather than that the others get no answer.

        Spec: client-server-api#post_matrixclientv3keysquery
        """
        users = _parse_users(asked)
        held = self._database.read(lambda view: encryption.find_list_received_at(view, users))
        unknown = _by_server(
            user for user in users if user not in held and server_of(user) != self._server_name
        )
        failed = await self._fetch_lists(unknown)
        present = [user for user in users if server_of(user) not in failed or user in held]
        answer = self._database.read(
            lambda view: key_material.gather(view, present, requester.user_id)
        )
        answer["device_keys"] |= {name: {} for name in asked if not is_user_id(name)}
        for user_id, wanted in asked.items():
            devices = answer["device_keys"].get(user_id)
            if wanted and devices:
                answer["device_keys"][user_id] = {
                    name: keys for name, keys in devices.items() if name in wanted
                }
        return answer | {"failures": {server: {} for server in sorted(failed)}}

    async def claim(self, asked: Mapping[str, Mapping[str, str]]) -> JsonObject:
        """Take one key for each device asked. Always an answer, whoever sleeps.

        Spec: client-server-api#post_matrixclientv3keysclaim
        """
        wanted = parse_claims(asked)
        remote: dict[ServerName, _Claims] = {}
        for server, users in _by_server(wanted).items():
            remote[server] = {user: wanted[user] for user in users}
        local = remote.pop(self._server_name, {})
        answers = await asyncio.gather(
            *(self._claim_from(server, claims) for server, claims in remote.items())
        )
        now_ms = self._clock.now_ms()

        def take(work: UnitOfWork) -> JsonObject:
            found = answer_claim(work, local, self._server_name, now_ms)
            failures: JsonObject = {}
            for (server, claims), answer in zip(remote.items(), answers, strict=True):
                _merge(found, answer or {})
                missing = _missing(claims, found)
                _merge(found, peer_deposits.take_from_deposit(work, server, missing, now_ms))
                missing = _missing(claims, found)
                if answer is None and missing:
                    failures[server] = {}
                self._report(work, server, missing, now_ms)
            return {"one_time_keys": found, "failures": failures}

        return await self._database.write(take)

    def changes(self, requester: Requester, after: int, until: int) -> JsonObject:
        """Whose devices to ask about again, and whom the owner shares no room with any more.

        Spec: client-server-api#get_matrixclientv3keyschanges
        """

        def find(view: View) -> JsonObject:
            near = veils.users_near(view, requester.user_id)
            moved = moves.moved_users(view, requester.user_id, after)
            changed = encryption.device_list_changes(view, after, until)
            shown = (changed & (near | {requester.user_id})) | (moved & near)
            return {"changed": sorted(shown), "left": sorted(moved - near)}

        return self._database.read(find)

    def _report(self, work: UnitOfWork, server: ServerName, missing: _Claims, now_ms: int) -> None:
        """Tell the owner which devices there is no key for, and why."""
        is_used_up = peer_deposits.was_heard_lately(work, server, now_ms)
        fresh = self._not_reported(missing, now_ms)
        work.at_commit(lambda: self._note_reported(fresh, now_ms))
        reports.report_no_key(work, server, fresh, now_ms, is_used_up=is_used_up)

    def _not_reported(self, missing: _Claims, now_ms: int) -> dict[UserId, list[DeviceId]]:
        """The devices without a key whose owners ours was not told about today."""
        fresh: dict[UserId, list[DeviceId]] = {}
        for user_id, devices in missing.items():
            for device_id in devices:
                if now_ms - self._reported.get((user_id, device_id), 0) >= deposits.DAY_MS:
                    fresh.setdefault(user_id, []).append(device_id)
        return fresh

    def _note_reported(self, fresh: Mapping[UserId, Sequence[DeviceId]], now_ms: int) -> None:
        if len(self._reported) > _REPORTED_LIMIT:
            self._reported.clear()
        for user_id, devices in fresh.items():
            self._reported |= {(user_id, device_id): now_ms for device_id in devices}

    async def _fetch_lists(self, unknown: Mapping[ServerName, Sequence[UserId]]) -> set[ServerName]:
        """Ask peers for lists we do not hold and store them; the servers that did not answer."""
        results = await asyncio.gather(
            *(self._fetch_list(server, users) for server, users in unknown.items())
        )
        return {server for server, is_known in zip(unknown, results, strict=True) if not is_known}

    async def _fetch_list(self, server: ServerName, users: Sequence[UserId]) -> bool:
        body: JsonObject = {"device_keys": {user: [] for user in users}}
        answer = await self._ask(server, "user/keys/query", body)
        if answer is None:
            return False
        now_ms = self._clock.now_ms()

        def save(work: UnitOfWork) -> None:
            for user in users:
                peer_lists.save(work, user, peer_lists.from_query(answer, user), now_ms)

        try:
            await self._database.write(save)
        except errors.HomeserverError:  # the peer's answer is none
            return False
        return True

    async def _claim_from(self, server: ServerName, wanted: _Claims) -> JsonObject | None:
        answer = await self._ask(server, "user/keys/claim", {"one_time_keys": dict(wanted)})
        return None if answer is None else _claimed(answer, wanted)

    async def _ask(self, server: ServerName, operation: str, body: JsonObject) -> JsonObject | None:
        if not self._peers.is_awake(server):
            return None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await self._peers.ask(server, operation, body, _PATIENCE_S)
        except (errors.HomeserverError, TimeoutError):
            return None


def answer_query(view: View, users: Collection[UserId]) -> JsonObject:
    """What a peer may know of our own users' devices; other users are left out.

    Spec: server-server-api#post_matrixfederationv1userkeysquery
    """
    ours = sorted(accounts.users_with_accounts(view, users))
    answer = key_material.gather(view, ours, asked_by=None)
    del answer["user_signing_keys"]
    return answer


def answer_claim(
    work: UnitOfWork, wanted: _Claims, asked_by: ServerName, now_ms: int
) -> JsonObject:
    """Take keys of our own users' devices; the value of `one_time_keys` in the answer.

    A peer that has used up its share of a device's one-time keys gets the fallback key.

    Spec: server-server-api#post_matrixfederationv1userkeysclaim
    """
    ours = accounts.users_with_accounts(work, wanted)
    found: JsonObject = {}
    for user_id in sorted(ours):
        for device_id, algorithm in wanted[user_id].items():
            key = _take_key(work, (user_id, device_id), algorithm, asked_by, now_ms)
            if key is not None:
                found.setdefault(user_id, {})[device_id] = key
    return found


def forget_devices(work: UnitOfWork, user_id: UserId, devices: Sequence[DeviceId]) -> None:
    """Delete everything these devices of our user had to do with encryption, and say so."""
    encryption.delete_keys_of_devices(work, user_id, devices)
    encryption.forget_spent_of_devices(work, user_id, devices)
    encryption.delete_inboxes(work, user_id, devices)
    dehydrated = encryption.find_dehydrated(work, user_id)
    if dehydrated is not None and dehydrated.device_id in devices:
        encryption.delete_dehydrated(work, user_id)
    if encryption.delete_device_keys(work, user_id, devices):
        encryption.mark_device_list_changed(work, user_id, server_of(user_id))
        deposits.queue_for_peers(work, user_id)


def forget_peer(work: UnitOfWork, peer: ServerName) -> None:
    """Destroy what a peer deposited with us and give up what was reserved for it (revoke)."""
    encryption.delete_keys_of_server(work, peer)
    encryption.delete_users_of_server(work, peer)
    encryption.forget_rounds(work, peer)


def _take_key(
    work: UnitOfWork,
    device: tuple[UserId, DeviceId],
    algorithm: str,
    asked_by: ServerName,
    now_ms: int,
) -> JsonObject | None:
    is_ours = server_of(device[0]) == asked_by
    if is_ours or not deposits.has_taken_enough(work, device, asked_by, now_ms):
        one_time = encryption.claim_one_time_key(work, *device, algorithm)
        if one_time is not None:
            key_id, key = one_time
            encryption.note_spent(work, device, (algorithm, key_id), asked_by, now_ms)
            return {f"{algorithm}:{key_id}": canonical_json.decode(key)}
    fallback = encryption.claim_fallback_key(work, *device, algorithm)
    if fallback is None:
        return None
    return {f"{algorithm}:{fallback[0]}": canonical_json.decode(fallback[1])}


def _parse_users(asked: Collection[str]) -> list[UserId]:
    """The user IDs among what was asked for: one that is none costs the others nothing."""
    if len(asked) > _USERS_LIMIT:
        raise errors.TooLarge("Ask for fewer users at once.")
    return [UserId(user) for user in asked if is_user_id(user)]


def parse_claims(asked: Mapping[str, Mapping[str, str]]) -> _Claims:
    """Which keys are asked for, by user and device, from outside; no user ID has none."""
    users = _parse_users(asked)
    return {
        user: {DeviceId(device_id): algorithm for device_id, algorithm in asked[user].items()}
        for user in users
    }


def _by_server(users: Iterable[UserId]) -> dict[ServerName, list[UserId]]:
    grouped: dict[ServerName, list[UserId]] = {}
    for user in users:
        grouped.setdefault(server_of(user), []).append(user)
    return grouped


def _claimed(answer: JsonObject, wanted: _Claims) -> JsonObject:
    """The part of a peer's answer that was asked for and has the right form."""
    found: JsonObject = {}
    given = answer.get("one_time_keys")
    for user_id, devices in wanted.items():
        of_user = given.get(user_id) if isinstance(given, dict) else None
        for device_id, algorithm in devices.items():
            keys = of_user.get(device_id) if isinstance(of_user, dict) else None
            if isinstance(keys, dict) and _is_key_of((user_id, device_id), keys, algorithm):
                found.setdefault(user_id, {})[device_id] = keys
    return found


def _is_key_of(device: tuple[UserId, DeviceId], keys: JsonObject, algorithm: str) -> bool:
    try:
        checked = [key_shapes.check_one_time_key(name, key, *device) for name, key in keys.items()]
    except errors.HomeserverError:
        return False
    return [one[0] for one in checked] == [algorithm]


def _missing(wanted: _Claims, found: JsonObject) -> _Claims:
    """What was asked for and is not there yet."""
    missing: dict[UserId, dict[DeviceId, str]] = {}
    for user_id, devices in wanted.items():
        for device_id, algorithm in devices.items():
            if device_id not in found.get(user_id, {}):
                missing.setdefault(user_id, {})[device_id] = algorithm
    return missing


def _merge(found: JsonObject, more: JsonObject) -> None:
    for user_id, devices in more.items():
        found.setdefault(user_id, {}).update(devices)
