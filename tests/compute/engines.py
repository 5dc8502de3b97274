"""What the tests of several engines' drivers share: a house that is killed while it submits, and programs for gangs."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from lilong.floors.compute.contract import PYTHON, AlreadySubmitted, JobAsk, JobState, Layout, Phase, Site, Task

GANG = """
import os, socket, sys
rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if rank == 0:
    with socket.create_server(("", place[1])) as door:
        for _ in range(size - 1):
            other, _ = door.accept()
            print("met", other.recv(100).decode(), flush=True)
else:
    import time
    while True:
        try:
            door = socket.create_connection(place); break
        except OSError:
            time.sleep(0.1)
    door.sendall(b"rank %d" % rank)
print("rank", rank, "of", size, "local", os.environ["LOCAL_RANK"], "node", os.environ["NODE_RANK"], flush=True)
"""


def submit_all(site: Site, outbox: Path, task: Task) -> None:
    """What a house does: an attempt is written down, handed over, and then written down as handed over; in doubt it asks the engine."""
    with closing(sqlite3.connect(outbox, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        for token, state in db.execute("SELECT token, state FROM outbox WHERE state <> 'done' ORDER BY token").fetchall():
            if state == "new":
                db.execute("UPDATE outbox SET state = 'intended' WHERE token = ?", (token,))
            elif site.find(token).phase is not Phase.NEVER:
                db.execute("UPDATE outbox SET state = 'done' WHERE token = ?", (token,))
                continue
            with suppress(AlreadySubmitted):
                site.submit(token, task)
            db.execute("UPDATE outbox SET state = 'done' WHERE token = ?", (token,))


def submit_under_kills(make: Callable[[], Site], outbox: Path, tokens: Iterable[str], task: Task, *, kills: int, seed: int) -> int:
    """Submit all, while the process that does so is killed with SIGKILL again and again at random moments. How often it was."""
    chance = random.Random(seed)
    with closing(sqlite3.connect(outbox, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE outbox (token TEXT PRIMARY KEY, state TEXT NOT NULL)")
        db.executemany("INSERT INTO outbox VALUES (?, 'new')", [(token,) for token in tokens])
        (total,) = db.execute("SELECT COUNT(*) FROM outbox").fetchone()
        killed = 0
        while True:
            (before,) = db.execute("SELECT COUNT(*) FROM outbox WHERE state = 'done'").fetchone()
            if before == total:
                return killed
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    submit_all(make(), outbox, task)
                    status = 0
                finally:
                    os._exit(status)
            if killed < kills:
                goal = min(total, before + chance.randint(1, max(1, 2 * (total - before) // (kills - killed + 1))))
                while not _over(child):
                    (done,) = db.execute("SELECT COUNT(*) FROM outbox WHERE state = 'done'").fetchone()
                    if done >= goal:
                        time.sleep(chance.random() * 0.03)
                        os.kill(child, signal.SIGKILL)
                        killed += 1
                        break
                    time.sleep(0.004)
            _, status = os.waitpid(child, 0)
            assert os.WIFSIGNALED(status) or status == 0


def _over(child: int) -> bool:
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    return certificate, private


def check_a_house_runs_jobs_there(folder: Path, site: str, driver: str, options: str) -> None:
    """As an operator declares it and a user asks for it: one task, and a gang with devices; log, progress and outputs come back."""
    from tests.compute.conftest import ORGANISATION, open_compute

    from lilong.floors.compute import service
    from lilong.floors.compute.service import settings
    from lilong.floors.compute.work import run_until_idle
    from lilong.ground.access import SYSTEM

    house = open_compute(folder / "house")
    try:
        classes = '[classes.h20]\nvendor = "nvidia"\nmemory_gib = 96\n'
        settings.apply(
            house, SYSTEM, f'{classes}[sites.{site}]\ndriver = "{driver}"\nmode = "delegated"\n[sites.{site}.options]\n{options}'
        )
        code = "import os; from lilong.ground.work import Workspace; w = Workspace.here(); w.progress(1, 1, 'ran'); print('on', os.environ.get('RANK')); w.finish({})"
        ask = JobAsk("test.mark", ORGANISATION, (PYTHON, "-c", code), memory_mib=128, sites=(site,))
        gang = replace(ask, any_of=(Layout("h20", 2, tasks=2),))
        asked = [house.db.write(lambda tx, ask=ask: service.port(house).submit(tx, SYSTEM, ask)).id for ask in (ask, gang)]
        run_until_idle(house)
        for job_id, text in zip(asked, ("on None\n", "[1] on 1\n"), strict=True):
            job = service.show(house, SYSTEM, job_id)
            assert (job.state, job.site, job.attempt) == (JobState.SUCCEEDED, site, 1), job
            assert [output.path for output in job.outputs] == ["result.json"]
            assert text in service.logs(house, SYSTEM, job_id).text
            assert service.progress(house, SYSTEM, job_id)
    finally:
        house.close()
