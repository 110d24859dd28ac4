"""Camera paths: each is described by one module, is registered here, and is placed in the free space of a scene."""

from __future__ import annotations

from blueprint.cameras import file, manipulation, orbit, sweep
from blueprint.cameras.base import CameraPath
from blueprint.errors import UserError

__all__ = ["PATHS", "CameraPath", "camera_path"]

PATHS: dict[str, CameraPath] = {path.name: path for path in (orbit.PATH, sweep.PATH, manipulation.PATH, file.PATH)}
"""Every kind of camera path, by the name that a clip's key `path` gives it."""


def camera_path(name: str) -> CameraPath:
    """The camera path of a name.

    Raises:
        UserError: there is none.
    """
    try:
        return PATHS[name]
    except KeyError:
        raise UserError(
            f"path: found {name!r}: there is no such camera path. Known paths: {', '.join(PATHS)}."
        ) from None
