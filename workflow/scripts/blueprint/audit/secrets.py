"""Secret scan of the working tree and of the branch's history, with detect-secrets.

``config/runtime.env`` holds tokens by design and is excluded by its exact path, as an untracked file, and only there: a
copy under another name is scanned, and so is the file itself once it is committed. False positives are recorded in
``.secrets.baseline`` after a person has looked at them (``detect-secrets audit .secrets.baseline``); there is no other
way to silence a finding.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from detect_secrets.__version__ import VERSION
from detect_secrets.core.scan import scan_file
from detect_secrets.settings import transient_settings

from blueprint import system
from blueprint.errors import UserError
from blueprint.files import write_text

RUNTIME_ENV = "config/runtime.env"
BASELINE = ".secrets.baseline"

_HEURISTICS = (
    "is_not_alphanumeric_string",
    "is_potential_uuid",
    "is_prefixed_with_dollar_sign",
    "is_sequential_string",
    "is_templated_secret",
)
_TOKENS = f"file://{Path(__file__).with_name('tokens.py')}"
SETTINGS = {
    "plugins_used": [
        {"name": "HuggingFaceDetector", "path": _TOKENS},
        {"name": "BackblazeDetector", "path": _TOKENS},
        {"name": "VastDetector", "path": _TOKENS},
        {"name": "GoogleDetector", "path": _TOKENS},
        {"name": "AWSKeyDetector"},
        {"name": "AzureStorageKeyDetector"},
        {"name": "BasicAuthDetector"},
        {"name": "GitHubTokenDetector"},
        {"name": "GitLabTokenDetector"},
        {"name": "JwtTokenDetector"},
        {"name": "OpenAIDetector"},
        {"name": "PrivateKeyDetector"},
        {"name": "PypiTokenDetector"},
        {"name": "SlackDetector"},
        {"name": "KeywordDetector"},
        {"name": "Base64HighEntropyString", "limit": 4.5},
        {"name": "HexHighEntropyString", "limit": 3.0},
    ],
    "filters_used": [{"path": f"detect_secrets.filters.heuristic.{name}"} for name in _HEURISTICS],
}


@dataclass(frozen=True, order=True)
class Finding:
    """Something that looks like a secret. The secret itself is not kept."""

    path: str
    line: int
    kind: str
    digest: str
    """SHA-1 of the secret, as detect-secrets' baselines record it."""
    commit: str = ""
    """Abbreviated commit that introduced it, for findings in the history only."""

    def __str__(self) -> str:
        return f"{self.path}:{self.line} ({self.kind}{f', in commit {self.commit}' if self.commit else ''})"


def scan(root: Path) -> list[Finding]:
    """Findings in a repository's files and in the history of its current branch that the baseline does not know.

    Raises:
        UserError: ``root`` is not a git checkout, or the baseline cannot be read.
    """
    known = _baseline(root)
    with transient_settings(SETTINGS):
        findings = [*_scan_files(root), *_scan_history(root)]
    return sorted({finding for finding in findings if (finding.path, finding.kind, finding.digest) not in known})


def _scan_files(root: Path) -> Iterator[Finding]:
    untracked = set(_git_paths(root, "--others", "--exclude-standard"))
    # Ignored files are scanned where people put settings and where programs write logs; not environments and clips.
    ignored = set(_git_paths(root, "--others", "--ignored", "--exclude-standard", "--", "config", "logs", "*.env*"))
    for path in sorted({*_git_paths(root, "--cached"), *untracked, *ignored} - {BASELINE}):
        if path == RUNTIME_ENV and path in ignored | untracked:
            continue
        if (root / path).is_file():
            yield from _scan_file(root / path, path)
    if (root / BASELINE).is_file():
        yield from _scan_text(_without_hashes((root / BASELINE).read_text(encoding="utf-8")), BASELINE)


def _scan_history(root: Path) -> Iterator[Finding]:
    """Every version of every file on the branch, but those in the index: the working tree has been scanned."""
    if system.git(root, "rev-parse", "-q", "--verify", "HEAD", check=False).returncode:
        return  # no commit yet
    current = {line.split()[1] for line in system.git(root, "ls-files", "--stage").stdout.splitlines()}
    listed = system.git(root, "rev-list", "--objects", "--filter=object:type=blob", "HEAD").stdout
    objects = [line.partition(" ") for line in listed.splitlines()]  # commits come along, without a path
    for blob, _, path in objects:
        if not path or path == BASELINE or blob in current:
            continue
        content = system.git(root, "cat-file", "blob", blob).stdout
        for finding in _scan_text(content, path):
            commit = system.git(root, "log", "--format=%h", f"--find-object={blob}", "HEAD").stdout.split()[-1]
            yield replace(finding, commit=commit)


def _scan_text(content: str, path: str) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="blueprint-audit-") as folder:
        version = Path(folder) / Path(path).name  # the suffix tells detect-secrets how to read the file
        version.write_text(content, encoding="utf-8")
        yield from _scan_file(version, path)


def _scan_file(file: Path, path: str) -> Iterator[Finding]:
    if b"\0" in file.read_bytes()[:65536]:
        return  # not text
    for secret in scan_file(str(file)):
        yield Finding(path, secret.line_number, secret.type, secret.secret_hash)


def _baseline(root: Path) -> set[tuple[str, str, str]]:
    file = root / BASELINE
    if not file.is_file():
        return set()
    try:
        results = json.loads(file.read_text(encoding="utf-8"))["results"]
        return {
            (path, entry["type"], entry["hashed_secret"])
            for path, entries in results.items()
            for entry in entries
            if entry.get("is_secret") is False
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: not a detect-secrets baseline ({error}). Restore it from git.") from error


def _without_hashes(baseline: str) -> str:
    """A baseline's text without its hashes, which have the entropy of secrets and are none."""
    value = json.loads(baseline)
    for entries in value.get("results", {}).values():
        for entry in entries:
            entry.pop("hashed_secret", None)
    return json.dumps(value, indent=2)


def _git_paths(root: Path, *arguments: str) -> list[str]:
    return [path for path in system.git(root, "ls-files", "-z", *arguments).stdout.split("\0") if path]


def write_baseline(root: Path) -> int:
    """Add all present findings to the baseline, unaudited, for a person to look at; return how many there are.

    Entries that are already audited stay. Until `detect-secrets audit` marks an entry as no secret it is still found.
    """
    file = root / BASELINE
    if file.is_file():
        baseline = json.loads(file.read_text(encoding="utf-8"))
    else:
        baseline = {"version": VERSION, "plugins_used": _portable_plugins(root), "filters_used": [], "results": {}}
    findings = scan(root)
    for finding in findings:
        entry = {
            "type": finding.kind,
            "filename": finding.path,
            "hashed_secret": finding.digest,
            "is_verified": False,
            "line_number": finding.line,
        }
        entries = baseline["results"].setdefault(finding.path, [])
        if not any((old["type"], old["hashed_secret"]) == (finding.kind, finding.digest) for old in entries):
            entries.append(entry)
    write_text(file, json.dumps(baseline, indent=2, sort_keys=True) + "\n")
    return len(findings)


def _portable_plugins(root: Path) -> list[dict[str, object]]:
    """The plugins with paths relative to the checkout, so that `detect-secrets audit` finds them in every clone."""
    absolute = f"file://{root.resolve()}/"
    return [
        {key: value.replace(absolute, "file://") if key == "path" else value for key, value in plugin.items()}
        for plugin in SETTINGS["plugins_used"]
    ]
