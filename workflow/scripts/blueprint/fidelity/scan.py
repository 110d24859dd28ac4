"""A scene as the stage looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from blueprint.cameras.space import Space
from blueprint.fidelity.gaussians import Coherence
from blueprint.fidelity.views import TrustRenderer
from blueprint.render import Renderer
from blueprint.splat import Splat

LEAST_PHOTOS = 3


@dataclass
class Scan:
    """A scene as this stage looks at it."""

    make_renderer: type[Renderer]
    scene: Splat
    options: dict[str, Any]
    level: np.ndarray  # [4, 4] from the world to the level frame
    space: Space
    closed: bool
    found: Coherence
    photo_views: np.ndarray | None = None  # [N], by how many photos each Gaussian was seen

    def trust(self, size: tuple[int, int]) -> TrustRenderer:
        """A renderer of judged views of one size."""
        return TrustRenderer(
            self.make_renderer,
            self.scene,
            self.found,
            self.closed,
            size,
            self.photo_views,
            LEAST_PHOTOS,
            **self.options,
        )
