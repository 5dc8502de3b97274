"""A real Slurm in a temporary folder: eight virtual nodes of eight devices each, with accounting.

Four nodes have devices of type a100, four of type h20; each node has 8 cores and 16,000 MiB, on paper. Every daemon is a child of this
process, on free ports and sockets of its own folder, and is killed with it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NODES = ("a1", "a2", "a3", "a4", "h1", "h2", "h3", "h4")
PROGRAMS = ("slurmctld", "slurmdbd", "slurmd", "sbatch", "munged", "mariadbd", "setpriv")
PATIENCE_S = 60.0

SLURM = """
ClusterName=harbour
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool.%n
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
MpiDefault=none
SwitchType=switch/none
TopologyPlugin=topology/tree
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PriorityType=priority/multifactor
SchedulerParameters=sched_min_interval=200000,bf_interval=2,batch_sched_delay=0,defer_batch
ReturnToService=2
SlurmctldTimeout=60
SlurmdTimeout={silence}
KillWait=3
MessageTimeout=10
MinJobAge=300
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={accounts}
AccountingStoragePass={folder}/munge.sock
AccountingStorageTRES=gres/gpu
AccountingStorageEnforce=associations,limits,qos
AccountingStoreFlags=job_comment
NodeName=a[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{a}] CPUs=8 CoresPerSocket=8 RealMemory=16000 Gres=gpu:a100:8
NodeName=h[1-4] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{h}] CPUs=8 CoresPerSocket=8 RealMemory=16000 Gres=gpu:h20:8
PartitionName=all Nodes=a[1-4],h[1-4] Default=YES MaxTime=7-0 PriorityTier=10
PartitionName=parked Nodes=a[1-4] State=DOWN PriorityTier=10
PartitionName=urgent Nodes=h4 PriorityTier=100
"""
TOPOLOGY = "SwitchName=r1 Nodes=a[1-4]\nSwitchName=r2 Nodes=h[1-4]\nSwitchName=core Switches=r[1-2]\n"
ACCOUNTS = """
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={accounts}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageLoc=slurm_acct_db
CommitDelay=1
"""


def missing() -> str | None:
    """Why no cluster can be started here; None where it can."""
    if os.geteuid() != 0:
        return "a Slurm of one's own needs root: its daemons start jobs under other users' ids"
    absent = [program for program in PROGRAMS if _program(program) is None]
    return f"not installed: {', '.join(absent)} (Debian: slurm-wlm slurmdbd munge mariadb-server)" if absent else None


class Cluster:
    """`start` makes it, `stop` ends it. `node` and `controller` daemons may be killed and started again on the way."""

    def __init__(self, folder: Path, *, silence_s: int = 300) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}
        self._silence_s = silence_s

    # --- life --------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        for name in ("state", "data", "devices", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        self._write()
        self._daemon("munged", "-F", "--force", *(f"--{key}={self.folder / name}" for key, name in (("key-file", "munge.key"), ("socket", "munge.sock"), ("log-file", "munge.log"), ("pid-file", "munge.pid"), ("seed-file", "munge.seed"))))  # fmt: skip
        # slurmdbd keeps its accounts with stored procedures, so the server's own tables must be there
        self.run("mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={self.folder / 'data'}", "--skip-test-db", "--skip-name-resolve", "--auth-root-authentication-method=normal")  # fmt: skip
        database = self.folder / "data.sock"
        self._daemon(
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={self.folder / 'data'}", f"--socket={database}", "--skip-networking",
            "--skip-grant-tables", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", f"--pid-file={self.folder / 'data.pid'}",
        )  # fmt: skip
        self._await("munged", (self.folder / "munge.sock").exists)
        self._await("mariadbd", lambda: _connects(database))
        self.accounts()
        self.run("sacctmgr", "-i", "add", "cluster", "harbour")
        self.run("sacctmgr", "-i", "add", "account", "lantern-works,other-yard")
        self.run("sacctmgr", "-i", "add", "user", "root", "account=lantern-works", "defaultaccount=lantern-works")
        self.controller()
        for node in NODES:
            self.node(node)
        self._await("slurmctld", lambda: (self.says("sinfo", "-h", "-p", "all", "-o", "%D %T") or "").strip() == "8 idle")

    def controller(self, *arguments: str) -> None:
        self._daemon("slurmctld", "-D", "-f", str(self.conf), *arguments)

    def accounts(self) -> None:
        self._daemon("slurmdbd", "-D", environment={"MYSQL_UNIX_PORT": str(self.folder / "data.sock")})
        self._await("slurmdbd", lambda: self.says("sacctmgr", "-n", "list", "cluster") is not None)

    def node(self, name: str) -> None:
        self._daemon(name, "-D", "-f", str(self.conf), "-N", name, program="slurmd")

    def kill(self, name: str) -> None:
        """As `kill -9`; `name`: slurmctld, slurmdbd, munged, mariadbd, or a node's."""
        daemon = self._daemons.pop(name)
        daemon.kill()
        daemon.wait()

    def end(self, name: str) -> None:
        """As an administrator stops it; slurmctld saves its state."""
        daemon = self._daemons.pop(name)
        daemon.terminate()
        daemon.wait()

    def signal(self, name: str, what: signal.Signals) -> None:
        self._daemons[name].send_signal(what)

    def answers(self) -> bool:
        return (self.says("scontrol", "ping") or "").find("is UP") > 0

    def stop(self) -> None:
        with contextlib.suppress(subprocess.SubprocessError, RuntimeError, KeyError):
            self.says("scancel", "--user=root")
            self._await("slurmctld", lambda: self.says("squeue", "--noheader") == "")
        for name in list(self._daemons):
            self.kill(name)
        mine = f"SLURM_CONF={self.conf}".encode()
        for process in Path("/proc").glob("[0-9]*"):  # what ran on a node whose daemon was killed
            with contextlib.suppress(OSError):
                if mine in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)

    # --- commands ----------------------------------------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        return {
            "SLURM_CONF": str(self.conf),
            "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
        }

    def run(self, *argv: str) -> str:
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr or done.stdout}")
        return done.stdout

    def says(self, *argv: str) -> str | None:
        with contextlib.suppress(RuntimeError):
            return self.run(*argv)
        return None

    def _write(self) -> None:
        ports = _free_ports(10)
        told = {
            "folder": self.folder, "host": socket.gethostname().partition(".")[0], "control": ports[8], "accounts": ports[9],
            "a": ",".join(map(str, ports[:4])), "h": ",".join(map(str, ports[4:8])), "silence": self._silence_s,
        }  # fmt: skip
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        devices = self.folder / "devices"
        for number in range(8):
            os.mknod(
                devices / f"nvidia{number}", 0o600 | stat.S_IFCHR, os.makedev(1, 3)
            )  # as /dev/null; of plain files jobs learn no numbers
        self.conf.write_text(SLURM.format(**told))
        lines = (f"NodeName={name}[1-4] Name=gpu Type={kind} File={devices}/nvidia[0-7]\n" for name, kind in (("a", "a100"), ("h", "h20")))
        (self.folder / "gres.conf").write_text("".join(lines))
        (self.folder / "topology.conf").write_text(TOPOLOGY)
        (self.folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        accounts = self.folder / "slurmdbd.conf"
        accounts.write_text(ACCOUNTS.format(**told))
        accounts.chmod(0o600)

    def _daemon(self, name: str, *arguments: str, program: str = "", environment: dict[str, str] | None = None) -> None:
        path = _program(program or name)
        assert path is not None
        with (self.folder / f"{name}.out").open("ab") as said:
            self._daemons[name] = subprocess.Popen(
                # whoever kills the tests with -9 leaves no daemons behind
                ["setpriv", "--pdeathsig", "KILL", path, *arguments],
                env=self.environment | (environment or {}), stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd=self.folder,
            )  # fmt: skip

    def _await(self, name: str, good: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not good():
            if self._daemons[name].poll() is not None or time.monotonic() > end:
                told = "".join(
                    (self.folder / file).read_text(errors="replace")[-2000:]
                    for file in (f"{name}.out", f"{name}.log")
                    if (self.folder / file).exists()
                )
                raise RuntimeError(f"{name} did not come up: {told}")
            time.sleep(0.05)


@contextlib.contextmanager
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    made = Cluster(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Cluster]:
    problem = missing()
    if problem:
        pytest.skip(problem)
    with cluster() as made:
        yield made


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in sockets]
