"""What Snakemake was called for, read from its command line with its own parser (quick to import)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from functools import lru_cache
from io import StringIO
from typing import Any

# Snakemake's modes that run no job, by the names of its own command line.
WITHOUT_JOBS = (
    *("dryrun", "touch", "lint", "dag", "rulegraph", "filegraph", "d3dag", "summary", "detailed_summary", "report"),
    *("list_rules", "list_target_rules", "list_changes", "list_input_changes", "list_params_changes"),
    *("list_untracked", "unlock", "cleanup_metadata", "cleanup_shadow", "print_compilation", "containerize"),
    *("archive", "delete_all_output", "delete_temp_output", "generate_unit_tests"),
    *("conda_cleanup_envs", "conda_create_envs_only", "list_conda_envs", "container_cleanup_images"),
)


def is_real_run(argv: Sequence[str]) -> bool:
    """Whether Snakemake was called with these arguments to run jobs, as its own parser reads them."""
    arguments = _parsed(tuple(argv))
    no_jobs = any(getattr(arguments, mode) not in (None, False) for mode in WITHOUT_JOBS)
    return not no_jobs and not is_a_look(argv)


def is_a_look(argv: Sequence[str]) -> bool:
    """Whether nothing but checks is asked for, which end no machine."""
    targets = _parsed(tuple(argv)).targets
    return bool(targets) and set(targets) <= {"preflight", "audit"}


def executor_of(argv: Sequence[str]) -> Any:
    """The settings that an executor has in common with all others; the plugin is not known yet while rules are read.

    Arguments that are not Snakemake's, of a program that calls it as a library, are taken for a local run.
    """
    from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry  # absent where jobs run

    name = "local"
    with suppress(SystemExit):
        name = _parsed(tuple(argv)).executor or name
    return ExecutorPluginRegistry().get_plugin(name).common_settings


@lru_cache
def _parsed(argv: tuple[str, ...]) -> Any:
    from snakemake.cli import parse_args  # absent where jobs run

    with redirect_stderr(StringIO()):  # it announces the profiles a second time
        return parse_args(list(argv))[1]
