"""Renew this server's keys while it is stopped; its peers learn of it at the next start."""

from collections.abc import Callable

from federation import fingerprints, own_identity
from federation.own_identity import OwnIdentity
from homeserver.app import running
from homeserver.config import Config
from homeserver.keyring import Keyring
from homeserver.ports import Clock, Entropy


def load(config: Config, keyring: Keyring) -> OwnIdentity:
    """Who this server is."""
    return own_identity.load(config.data_directory, keyring)


def shown(own: OwnIdentity) -> dict[str, object]:
    """What an owner may read aloud: nothing of it is secret."""
    card = own.identity.card
    return {
        "server name": own.server_name,
        "node id": fingerprints.in_groups(own.node_id),
        "signs events with": next(iter(card.keys)),
        "keys before": sorted(card.retired),
        "card": card.sequence,
        "root key": "the first one"
        if not own.identity.successions
        else f"renewed {own.identity.successions} times",
    }


def rotate(config: Config, keyring: Keyring, clock: Clock, entropy: Entropy) -> OwnIdentity:
    """Sign events with a new key. Raises `running.AlreadyRunning`."""
    with running.only_one(config.data_directory):
        own = own_identity.renew_event_key(load(config, keyring), entropy, clock.now_ms())
        own_identity.save(own, config.data_directory, keyring)
        return own


def recover(
    config: Config,
    keyring: Keyring,
    phrase: str,
    clock: Clock,
    entropy: Entropy,
    tell: Callable[[str], None],
) -> OwnIdentity:
    """Put the root key of the recovery phrase in the place of the present one.

    The key that signs events is renewed with it: who had the one had the other. `tell` gets the
    next phrase before anything is stored, so that no crash can lose it. Raises
    `running.AlreadyRunning`, `own_identity.WrongPhrase` and `fingerprints.MistypedGroup`.
    """
    with running.only_one(config.data_directory):
        succeeded, next_phrase = own_identity.succeed(load(config, keyring), phrase, entropy)
        own = own_identity.renew_event_key(succeeded, entropy, clock.now_ms())
        tell(next_phrase)
        own_identity.save(own, config.data_directory, keyring)
        return own
