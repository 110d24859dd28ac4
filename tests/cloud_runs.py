"""Cloud settings and working directories for tests that talk to the loopback services."""

from __future__ import annotations

from pathlib import Path

from blueprint.cloud.settings import CloudSettings
from loopback_b2 import LoopbackB2


def cloud_settings(b2: LoopbackB2, **changes) -> CloudSettings:
    """Settings whose bucket is the loopback's, under the prefix `blueprint/test`."""
    values = {
        "bucket": b2.bucket,
        "prefix": "blueprint",
        "endpoint": b2.endpoint,
        "run_id": "test",
        "interval_s": 1.0,
        "grace_s": 1.0,
        "max_cost_usd": 0.0,
        "rate_usd_per_h": None,
        "shutdown": "stop",
        "machine": {"patience_s": 5},
        "source": "cloud.yaml",
        "instance_id": 7,
        "key_id": b2.key_id,
        "application_key": b2.application_key,
        "vast_api_key": "canary-vast-key",
    }
    return CloudSettings(**{**values, **changes})


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its content."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
