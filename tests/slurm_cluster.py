"""A Slurm cluster of two virtual nodes on this machine: Debian's slurmctld, slurmd and munge as they are."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from cloud_runs import wait_until

CONF = Path("/etc/slurm/slurm.conf")
"""Where programs look for it in jobs, which get none of Slurm's variables."""
OURS = "# Written by tests/slurm"
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "munged")
NODES = ("node1", "node2")
MEMORY_MB = 6000
PORT = 17801
SETTINGS = """{ours}; removed with its cluster.
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
SlurmdTimeout=6
KillWait=2
MinJobAge=600
OverTimeLimit=0
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={node1} CPUs=2 RealMemory={memory_mb} State=UNKNOWN
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={node2} CPUs=2 RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None where one can."""
    missing = [name for name in PROGRAMS if find(name) is None]
    if missing:
        return f"{', '.join(missing)}: not on this machine (.ci/run installs Debian's slurmctld, slurmd, munge)"
    if os.geteuid():
        return "slurmd wants to be root"
    if CONF.exists() and OURS not in CONF.read_text():
        return f"{CONF} is there: this machine is part of a real cluster"
    return None


def find(program: str) -> str | None:
    """The path of a program of the system's."""
    return shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")


class Cluster:
    """Started on entry, and ended with all its jobs on exit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        host = socket.gethostname()
        ports = {"port": PORT, "node1": PORT + 1, "node2": PORT + 2}
        CONF.parent.mkdir(exist_ok=True)
        CONF.write_text(SETTINGS.format(ours=OURS, host=host, folder=self.folder, memory_mb=MEMORY_MB, **ports))
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        try:
            self.start_munge()
            self.start("slurmctld", "-D")
            for node in NODES:
                self.start_node(node)
            wait_until(lambda: self.states() == dict.fromkeys(NODES, "idle"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def start_munge(self) -> None:
        """Munge, which vouches for who asks, unless it runs already."""
        if subprocess.run(["munge", "-n"], capture_output=True).returncode == 0:
            return
        for folder in ("/run/munge", "/var/log/munge", "/var/lib/munge"):
            Path(folder).mkdir(exist_ok=True)
            shutil.chown(folder, "munge", "munge")
        Path("/run/munge").chmod(0o755)
        Path("/var/log/munge").chmod(0o700)
        command = ["runuser", "-u", "munge", "--", str(find("munged")), "--foreground", "--force"]
        self.processes["munged"] = self._popen("munged", command)
        wait_until(lambda: subprocess.run(["munge", "-n"], capture_output=True).returncode == 0)

    def _popen(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.out").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self, program: str, *arguments: str, name: str = "") -> None:
        """Start one of Slurm's services in the foreground of a process of its own."""
        self.processes[name or program] = self._popen(name or program, [str(find(program)), *arguments])

    def start_node(self, node: str) -> None:
        """Start a virtual node."""
        self.start("slurmd", "-D", "-N", node, name=node)

    def kill(self, name: str) -> None:
        """Kill a service; of a node all jobs too, as when its power goes."""
        if name in NODES:
            for process in psutil.process_iter(["cmdline", "environ"]):
                at_node = (process.info["environ"] or {}).get("SLURMD_NODENAME") == name
                if at_node or any(word.startswith("slurmstepd") for word in process.info["cmdline"] or []):
                    with suppress(psutil.Error):
                        if at_node or name in self.step_nodes(process):
                            process.kill()
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def step_nodes(self, process: psutil.Process) -> set[str]:
        """The nodes whose services are ancestors of a process."""
        pids = {self.processes[node].pid: node for node in NODES if node in self.processes}
        return {pids[parent.pid] for parent in process.parents() if parent.pid in pids}

    def states(self) -> dict[str, str]:
        """The state of each node."""
        found = subprocess.run(["sinfo", "-h", "-N", "-o", "%N %T"], capture_output=True, text=True)
        return dict(line.split() for line in found.stdout.splitlines())

    def jobs(self) -> list[dict[str, str]]:
        """All jobs that Slurm still knows, each with the fields that `scontrol show job` prints."""
        shown = subprocess.run(["scontrol", "show", "job", "--oneliner"], capture_output=True, text=True).stdout
        return [
            dict(word.split("=", 1) for word in line.split() if "=" in word)
            for line in shown.splitlines()
            if "JobId=" in line
        ]

    def __exit__(self, *_: object) -> None:
        subprocess.run(["scancel", "--user", "root"], capture_output=True)
        for node in NODES:
            if node in self.processes:
                self.kill(node)
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
        CONF.unlink(missing_ok=True)
