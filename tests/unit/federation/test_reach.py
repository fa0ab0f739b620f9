"""Which routes are worth telling a peer."""

import pytest

from federation import reach

HERE, ALSO_HERE = "http://127.0.0.1:8008", "http://[::1]:8008"
THERE, AWAY = "https://alice.example", "http://192.0.2.7:8008"


@pytest.mark.parametrize("route", [HERE, ALSO_HERE, "http://localhost:1", "http://127.9.9.9"])
def test_a_loopback_route_leads_to_the_machine_it_is_used_on(route: str) -> None:
    assert reach.is_loopback(route)


@pytest.mark.parametrize("route", [THERE, AWAY, "http://localhost.example", "https://10.0.0.1"])
def test_other_routes_lead_elsewhere(route: str) -> None:
    assert not reach.is_loopback(route)


def test_somebody_on_this_machine_is_told_every_route() -> None:
    assert reach.towards((HERE, THERE), (ALSO_HERE, AWAY)) == (HERE, THERE)


def test_somebody_elsewhere_is_told_no_loopback_route() -> None:
    assert reach.towards((HERE, THERE), (AWAY,)) == (THERE,)


def test_somebody_without_a_route_may_be_anywhere() -> None:
    assert reach.towards((HERE, THERE), ()) == (HERE, THERE)
