"""What the owner's clients ask for: every service of the client API, built bottom to top."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from api.client.versions import BaseUrl
from homeserver.accounts.account_data import ClientConfig
from homeserver.accounts.deactivation import Deactivation
from homeserver.accounts.devices import Devices
from homeserver.accounts.interactive_auth import InteractiveAuth
from homeserver.accounts.login import LogIn
from homeserver.accounts.profile import Profiles, owner_of
from homeserver.accounts.rate_limits import RateLimit
from homeserver.accounts.relay import Relay
from homeserver.accounts.sessions import Sessions
from homeserver.accounts.short_tokens import ShortTokens
from homeserver.app.foundation import Foundation
from homeserver.encryption.cross_signing import CrossSigning
from homeserver.encryption.dehydration import Dehydration
from homeserver.encryption.device_keys import DeviceKeys
from homeserver.encryption.key_backup import KeyBackup
from homeserver.encryption.to_device import ToDevice
from homeserver.encryption.uploading import KeyUploads
from homeserver.ephemeral import Presences, Receipts, Typing, TypingBoard
from homeserver.matrix.identifiers import UserId
from homeserver.media import Media, MediaSettings, RemoteFiles
from homeserver.ports import PeerNetwork
from homeserver.push.history import NotificationHistory
from homeserver.push.pushers import Pushers
from homeserver.push.rules import PushRules
from homeserver.push.unread import UnreadCounts
from homeserver.rooms.aliases import RoomAliases
from homeserver.rooms.backfilling import Backfilling
from homeserver.rooms.creating import RoomCreator
from homeserver.rooms.delaying import DelayedEvents
from homeserver.rooms.directory import RoomDirectory
from homeserver.rooms.joining import Asking, Verify
from homeserver.rooms.members import RoomState
from homeserver.rooms.membership import Membership
from homeserver.rooms.moments import EventsInTime
from homeserver.rooms.related import RelatedEvents
from homeserver.rooms.reporting import Reporting
from homeserver.rooms.sending import RoomSender
from homeserver.rooms.spaces import Spaces
from homeserver.rooms.thread_subscriptions import ThreadSubscriptions
from homeserver.rooms.timeline import RoomTimeline
from homeserver.rooms.tying import Tying
from homeserver.rooms.upgrading import RoomUpgrades
from homeserver.rooms.upkeep import Upkeep
from homeserver.search import MessageSearch, PeopleSearch
from homeserver.search.people import Person
from homeserver.storage import peer_profiles, peers, wake_ups
from homeserver.storage.unit_of_work import View
from homeserver.sync.classic import ClassicSync, SyncSources
from homeserver.sync.notifier import Notifier
from homeserver.sync.saved_filters import Filters
from homeserver.sync.sliding.service import SlidingSync
from homeserver.sync.snapshots import Snapshots


@dataclass(frozen=True, slots=True)
class Outside:
    """The peers, as the core sees them: questions to them, and how their answers are verified."""

    network: PeerNetwork
    verify: Verify


def build(base: Foundation, outside: Outside) -> Mapping[type, Any]:
    """Every service that a handler of the client API may ask for, by its class."""
    sender = RoomSender(base.database, base.local, base.clock)
    return _by_class(
        *_accounts(base, outside, sender),
        *_encryption(base, outside),
        *_rooms(base, outside, sender),
        *_media(base, outside),
        *_moments(base, outside),
        MessageSearch(base.database, base.clock),
        PeopleSearch(base.database, _acquainted),
    )


def _acquainted(view: View) -> list[Person]:
    """The owners of connected servers, by what they say about themselves."""
    owners = [owner_of(peer) for peer in peers.load_peers(view) if peer.standing == peers.ACTIVE]
    return [_person(view, owner) for owner in owners if owner is not None]


def _person(view: View, user_id: UserId) -> Person:
    heard = peer_profiles.find_profile(view, user_id)
    said = {} if heard is None else heard.profile
    return Person(user_id, said.get("displayname"), said.get("avatar_url"))


def _accounts(base: Foundation, outside: Outside, sender: RoomSender) -> list[Any]:
    limits = base.config.rate_limits
    attempts = RateLimit(limits.logins_per_minute, base.clock, is_enabled=limits.enabled)
    passwords = base.surroundings.make_passwords()
    sessions = Sessions(base.database, base.clock, base.entropy)
    tokens = ShortTokens(base.database, base.clock, base.entropy)
    return [
        sessions,
        tokens,
        LogIn(base.database, sessions, passwords, attempts, tokens),
        Deactivation(base.database, sessions),
        Relay(base.config.voip, base.clock, base.entropy, base.config.data_directory),
        InteractiveAuth(base.database, passwords, attempts, base.clock, base.entropy),
        Devices(base.database, sessions),
        Profiles(
            base.database,
            outside.network,
            base.local.server_name,
            sender.update_member_profile,
            base.clock,
        ),
        ClientConfig(base.database),
        Filters(base.database),
        PushRules(base.database),
        Pushers(base.database, base.clock, base.config.push.gateways),
        NotificationHistory(base.database, base.clock),
        BaseUrl(next(iter(base.config.server.public_urls), None)),
    ]


def _encryption(base: Foundation, outside: Outside) -> list[Any]:
    name = base.local.server_name
    return [
        DeviceKeys(base.database, outside.network, base.clock, name),
        KeyUploads(base.database, base.clock),
        CrossSigning(base.database),
        KeyBackup(base.database, base.config.encryption.max_backup_bytes),
        ToDevice(base.database, base.clock, name),
        Dehydration(base.database, base.clock),
    ]


def _rooms(base: Foundation, outside: Outside, sender: RoomSender) -> list[Any]:
    aliases = RoomAliases(base.database, base.local, outside.network, base.clock)
    creator = RoomCreator(base.database, base.local, base.clock, base.entropy)
    backfilling = Backfilling(base.database, outside.network, outside.verify)
    asking = Asking(outside.network, outside.verify, base.local)
    return [
        sender,
        DelayedEvents(base.database, sender, base.clock, base.entropy),
        aliases,
        RoomState(base.database, base.clock),
        creator,
        RoomUpgrades(base.database, creator),
        RoomDirectory(base.database, base.local, outside.network),
        Spaces(base.database, base.local, outside.network, base.clock, aliases),
        Membership(base.database, base.local, base.clock, aliases, asking),
        RoomTimeline(base.database, base.clock, backfilling),
        EventsInTime(base.database, outside.network, backfilling),
        RelatedEvents(base.database, base.clock),
        ThreadSubscriptions(base.database),
        Tying(base.database, base.local, base.clock),
        Reporting(base.database, base.clock),
    ]


def _media(base: Foundation, outside: Outside) -> list[Any]:
    directory = base.config.data_directory / "media"
    files = base.surroundings.open_files(directory, base.entropy)
    remote = RemoteFiles(base.database, files, outside.network, base.clock)
    settings = MediaSettings(
        base.local.server_name,
        base.config.media.max_upload_bytes,
        base.config.federation.default_grants.media_max_bytes,
        base.config.media.max_pixels,
    )
    media = Media(base.database, files, remote, base.clock, settings)
    retention = base.config.retention
    upkeep = Upkeep(base.database, base.clock, base.owner, retention, media.discard)
    return [media, upkeep]


def _moments(base: Foundation, outside: Outside) -> list[Any]:
    """Sync, and what belongs to a moment."""
    board = TypingBoard(base.clock, base.entropy)
    presences = Presences(base.database, base.clock)
    notifier = Notifier(base.clock)
    board.listen(notifier.wake)
    base.database.wake_ups.listen(wake_ups.SYNC, notifier.wake)
    sources = SyncSources(board, presences, UnreadCounts().count)
    return [
        board,
        presences,
        Receipts(base.database, base.clock),
        Typing(base.database, board, outside.network),
        ClassicSync(base.database, notifier, sources, base.clock),
        Snapshots(base.database, notifier, base.clock),
        SlidingSync(base.database, notifier, sources, base.clock),
    ]


def _by_class(*services: Any) -> dict[type, Any]:
    return {type(service): service for service in services}
