"""Owners, networks and machines that do anything at any time: what holds, holds."""

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from homeserver.testing.strategies import Owners


def test_anything_goes(pytestconfig: pytest.Config) -> None:
    examples = 10 * int(pytestconfig.getoption("--seeds") or 0) or 4
    chosen = settings(max_examples=examples, stateful_step_count=12, deadline=None)
    run_state_machine_as_test(Owners, settings=chosen)
