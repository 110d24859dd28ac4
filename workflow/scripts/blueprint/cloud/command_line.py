"""What Snakemake was called for, read from its command line with its own parser (quick to import)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO

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
    from snakemake.cli import parse_args  # absent where jobs run

    with redirect_stderr(StringIO()):  # it announces the profiles a second time
        _, arguments = parse_args(list(argv))
    is_check = bool(arguments.targets) and set(arguments.targets) <= {"preflight", "audit"}  # a look ends no machine
    return not is_check and not any(getattr(arguments, mode) not in (None, False) for mode in WITHOUT_JOBS)
