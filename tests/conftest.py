"""Fixtures that several test files share."""

import pytest
from heads import tiny_head as make_tiny_head

from model.asset import HeadAsset


@pytest.fixture(scope="session")
def tiny_head() -> HeadAsset:
    """A small ellipsoid head with every field filled; see `heads.tiny_head`."""
    return make_tiny_head()
