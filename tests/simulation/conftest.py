"""How thorough the simulations are: quick by themselves, thorough with `--seeds`."""

import pytest


@pytest.fixture
def stride(pytestconfig: pytest.Config) -> int:
    """At every how many-th commit boundary to crash: each one with `--seeds`."""
    return 1 if pytestconfig.getoption("--seeds") else 5
