"""Engines: what makes appearance variants of a rendered clip. Each is a package here, registered by one line below."""

from __future__ import annotations

from blueprint.engines.base import Engine
from blueprint.engines.cosmos3.descriptor import Cosmos3
from blueprint.engines.cosmos3_diffusers.descriptor import Cosmos3Diffusers
from blueprint.engines.cosmos_transfer.descriptor import CosmosTransfer
from blueprint.engines.diffusers.descriptor import Diffusers
from blueprint.engines.photometric.descriptor import Photometric
from blueprint.environments.needs import STAGES, Needs
from blueprint.errors import UserError

ENGINES: dict[str, Engine] = {
    engine.name: engine for engine in (Photometric(), CosmosTransfer(), Diffusers(), Cosmos3(), Cosmos3Diffusers())
}

ENVIRONMENTS: dict[str, Needs] = STAGES | {
    engine.environment: engine.needs for engine in ENGINES.values() if engine.needs
}
"""What must import in each environment of envs/."""


def engine(name: str) -> Engine:
    """The engine of a name.

    Raises:
        UserError: there is none.
    """
    if name not in ENGINES:
        raise UserError(f"enrich.engine: found {name!r}; there are {', '.join(ENGINES)}.")
    return ENGINES[name]
