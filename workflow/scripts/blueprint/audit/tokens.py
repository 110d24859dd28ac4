"""Shapes of the tokens of the services this workflow talks to, as plugins of detect-secrets.

detect-secrets brings AWS, GitHub, private keys, keywords and entropy; it knows none of these four. Sources: the shapes
are those of keys that the services issue (Hugging Face user access tokens, Backblaze application keys, Vast.ai API
keys, Google API keys and OAuth client secrets).
"""

from __future__ import annotations

import re

from detect_secrets.plugins.base import RegexBasedDetector


class HuggingFaceDetector(RegexBasedDetector):
    """User access tokens ``hf_`` and organisation tokens ``api_org_`` with 34 letters and digits."""

    secret_type = "Hugging Face Token"
    denylist = (re.compile(r"\b(?:hf_|api_org_)[A-Za-z0-9]{34,40}\b"),)


class BackblazeDetector(RegexBasedDetector):
    """Application keys: ``K``, a three-digit cluster, 27 base64 characters."""

    secret_type = "Backblaze Application Key"
    denylist = (re.compile(r"(?<![A-Za-z0-9+/])K0\d{2}[A-Za-z0-9+/]{27}(?![A-Za-z0-9+/=])"),)


class VastDetector(RegexBasedDetector):
    """API keys: 64 hexadecimal digits, on a line that speaks of Vast (a bare SHA-256 looks the same)."""

    secret_type = "Vast.ai API Key"
    denylist = (re.compile(r"(?i:vast)[^\n]{0,80}?(?<![0-9a-f])(?<!sha256:)([0-9a-f]{64})(?![0-9a-f])"),)


class GoogleDetector(RegexBasedDetector):
    """API keys, OAuth client secrets and access tokens."""

    secret_type = "Google Token"
    denylist = (
        re.compile(r"\bAIza[0-9A-Za-z_-]{35}(?![0-9A-Za-z_-])"),
        re.compile(r"\bGOCSPX-[0-9A-Za-z_-]{28}(?![0-9A-Za-z_-])"),
        re.compile(r"\bya29\.[0-9A-Za-z_-]{60,}"),
    )
