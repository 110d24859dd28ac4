"""Camera paths: placed in the free space of a scene, written to and read from ``cameras.json``."""

from blueprint.cameras.file import Cameras, read, write

__all__ = ["Cameras", "read", "write"]
