"""Rate limits: who shares one, and that they are bounded and can be switched off."""

import asyncio

import pytest

from homeserver import errors
from homeserver.accounts.passwords import Passwords
from homeserver.accounts.rate_limits import RateLimit, source_key
from tests.accounts.serving import PASSWORD, PASSWORD_HASH, Hands


@pytest.mark.parametrize(
    ("one", "other", "is_shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        (None, "no address", True),
    ],
)
def test_who_counts_as_one_source(one: str | None, other: str, is_shared: bool) -> None:
    assert (source_key(one) == source_key(other)) is is_shared


def test_each_source_has_its_own_tries() -> None:
    limit = RateLimit(1, Hands())
    limit.spend("a")
    limit.spend("b")
    with pytest.raises(errors.LimitExceeded):
        limit.spend("a")


def test_tries_do_not_pile_up_beyond_the_burst() -> None:
    clock = Hands()
    limit = RateLimit(2, clock)
    clock.seconds += 3_600
    limit.spend("a")
    clock.seconds += 3_600
    limit.spend("a")
    limit.spend("a")
    with pytest.raises(errors.LimitExceeded):
        limit.spend("a")


def test_many_sources_take_no_more_memory() -> None:
    limit = RateLimit(1, Hands())
    for number in range(5_000):
        limit.spend(str(number))
    assert len(limit._buckets) == 4_096


def test_limits_can_be_switched_off() -> None:
    limit = RateLimit(1, Hands(), is_enabled=False)
    for _ in range(10):
        limit.spend("a")


async def test_only_so_many_passwords_wait_to_be_checked() -> None:
    checks = Passwords()
    tries = [checks.is_right(PASSWORD, PASSWORD_HASH) for _ in range(25)]
    outcomes = await asyncio.gather(*tries, return_exceptions=True)
    assert outcomes.count(True) == 20
    assert sum(isinstance(one, errors.LimitExceeded) for one in outcomes) == 5
