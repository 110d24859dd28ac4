"""An executor of the tests: each job runs in an empty folder of its own, as a pod or a rented machine would have it.

The job gets what Snakemake gives to any executor without a shared file system (Kubernetes, AWS Batch): a command that
fetches the deployed sources from the storage, then runs one job. What the folder holds at its end is removed. Options
of the interface that cost time on real machines only are off: nothing is installed before a job.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

FOLDERS = "BLUEPRINT_TEST_FOLDERS"
"""Variable with the place of the jobs' folders; the output of a job that failed stays there."""

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=True,
    job_deploy_sources=True,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


class Executor(RemoteExecutor):
    """Runs jobs as processes of this machine that share nothing with it but the storage."""

    def __post_init__(self):
        self.place = Path(os.environ[FOLDERS])

    def run_job(self, job):
        """Start a job in an empty folder, with the environment variables that the workflow declares for jobs."""
        folder = Path(tempfile.mkdtemp(prefix=f"{job.name}-", dir=self.place))
        base = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "OMP_NUM_THREADS") if name in os.environ}
        printed = folder.with_suffix(".txt")
        with printed.open("w") as stream:
            print("given", *sorted(self.envvars()), file=stream, flush=True)
            process = subprocess.Popen(
                ["sh", "-c", self.format_job_exec(job)],
                cwd=folder,
                env={**base, **self.envvars()},
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.report_job_submission(SubmittedJobInfo(job, external_jobid=folder.name, aux={"process": process}))

    async def check_active_jobs(self, active_jobs):
        """Report the jobs that have ended, yield the others."""
        for active in active_jobs:
            code = active.aux["process"].poll()
            if code is None:
                yield active
                continue
            folder = self.place / active.external_jobid
            shutil.rmtree(folder)
            if code == 0:
                self.report_job_success(active)
            else:
                self.report_job_error(active, msg=folder.with_suffix(".txt").read_text())

    def cancel_jobs(self, active_jobs):
        """End the jobs with all that they started."""
        for active in active_jobs:
            os.killpg(active.aux["process"].pid, 9)
