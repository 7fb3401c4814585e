"""A Slurm cluster of one node, this machine, for the time of a test: its three daemons, and all files in one folder."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "squeue", "scontrol", "sinfo", "srun")
SEARCHED = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

# memory is watched by polling, since a container has no control groups of its own to give; a node may be said to
# have more than the machine has
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MinJobAge=3600
NodeName={host} NodeAddr=127.0.0.1 CPUs=32 RealMemory=200000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can start here; None if one may."""
    missing = [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=SEARCHED) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (Debian: slurmctld slurmd slurm-client munge)"
    if os.geteuid() != 0:
        return "slurmd starts as root only"
    return None


class Cluster:
    """Slurm on this machine; a context manager.

    Attributes:
        environment: what commands need to find it.

    Raises:
        RuntimeError: on entering, if a daemon does not start; what it said follows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        self.environment = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        self._processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Cluster":
        for name in ("munge", "state", "spool", "bin"):
            (self.folder / name).mkdir(parents=True)
        # within a job the Snakemake plugin runs srun without SLURM_CONF, as if the file lay in /etc/slurm
        srun = self.folder / "bin/srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge/key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        host = socket.gethostname().partition(".")[0]
        (self.folder / "slurm.conf").write_text(
            CONFIGURATION.format(host=host, folder=self.folder, ports=_free_ports())
        )
        munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        paths = [f"--{option}={self.folder}/munge/{name}" for option, name in munge.items()]
        try:
            self._start("munged", "--foreground", "--force", *paths)
            self._wait(lambda: (self.folder / "munge/socket").exists())
            self._start("slurmctld", "-D")
            self._start("slurmd", "-D", "-N", host)
            self._wait(lambda: self.run("sinfo", "--noheader", "--format=%T", check=False).stdout.strip() == "idle")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        """One of Slurm's commands."""
        environment = os.environ | self.environment
        return subprocess.run([command, *arguments], env=environment, check=check, capture_output=True, text=True)

    def jobs(self) -> list[dict[str, str]]:
        """All jobs since the start in the order of their submission, as ``scontrol`` shows them."""
        lines = self.run("scontrol", "show", "job", "--oneliner").stdout.splitlines()
        found = [dict(part.split("=", 1) for part in line.split() if "=" in part) for line in lines if "JobId=" in line]
        return sorted(found, key=lambda job: int(job["JobId"]))

    def _start(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.log").open("w") as log:
            process = subprocess.Popen(
                [shutil.which(name, path=SEARCHED), *options],
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def _wait(self, ready) -> None:
        deadline = time.monotonic() + 60
        while not ready():
            dead = [process.args[0] for process in self._processes if process.poll() is not None]
            if dead or time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-1000:] for path in sorted(self.folder.glob("*.log")))
                raise RuntimeError(f"{', '.join(dead) or 'the node'} did not start:\n{logs}")
            time.sleep(0.2)


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
