"""Every answer that real clients get has the form the specification gives it.

Needs a proxy that checks answers against the specification's OpenAPI files; without one beside
the checkout (`*/tools/specproxy.py`) these tests are skipped.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from homeserver.testing.processes import Server
from tests import checking_proxy
from tests.checking_proxy import CheckedServer
from tests.end_to_end import test_one_server as stories
from tests.end_to_end.conftest import WithJs, WithNio


@pytest.fixture
def checked(server: Server) -> Iterator[Any]:
    if not checking_proxy.exists():
        pytest.skip("no checking proxy beside the checkout")
    with checking_proxy.checking(server.url) as seen:
        yield CheckedServer(server, seen)


async def test_nio_gets_only_answers_of_the_specified_form(checked: Any, with_nio: WithNio) -> None:
    phone, laptop = await with_nio(checked), await with_nio(checked)
    await stories.talk_from_two_devices(phone, laptop)
    await stories.share_files(phone, laptop)
    assert checked.seen.violations(of_endpoints=11) == []


@pytest.mark.node
async def test_js_sdk_gets_only_answers_of_the_specified_form(
    checked: Any, with_js: WithJs
) -> None:
    phone, laptop = await with_js(checked), await with_js(checked)
    await stories.talk_from_two_devices(phone, laptop)
    await stories.share_files(phone, laptop)
    assert checked.seen.violations(of_endpoints=11) == []
