"""What the tests of preflight, cameras and render share."""

import pytest

from rooms import room, write_ply


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """The furnished room of `rooms` as a file."""
    path = tmp_path_factory.mktemp("scene") / "room.ply"
    write_ply(path, room())
    return path
