"""One small table and the modules that all cases share."""

import pytest
from world import World


@pytest.fixture(scope="session")
def world():
    return World()
