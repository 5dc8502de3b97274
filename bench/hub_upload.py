"""What an upload through Xet costs the server: CPU seconds for each GiB, by the unmodified Hugging Face client.

    python bench/hub_upload.py [--mib 1024] [--folder DIR] [--json]

The server is `lilong up` on a fresh house (SQLite, xorbs on the disk), the client `huggingface_hub` with hf_xet, without any flag, in a
process of its own for each case. Every chunk and xorb hash is verified and every SHA-256 worked out by the server. CPU is user and
system time of the server's process and all under it, from before the client starts until a second after it ended. Peers in the same run: the same
client with HF_HUB_DISABLE_XET=1, which goes by Git LFS to the same server, and curl that PUTs the file to nginx (DAV), which keeps
the bytes and verifies nothing: about as little as taking bytes from a socket to a file can cost.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from lilong.app import open_house_with_floors
from lilong.ground.access import SYSTEM
from lilong.ground.config import load
from lilong.ground.presence import running

ORGANISATION = "lantern-works"
PIECE = 16 << 20
CLIENT = """
import sys
from huggingface_hub import HfApi
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
api = HfApi()
api.create_repo(sys.argv[1], repo_type="dataset", private=True, exist_ok=True)
api.upload_file(path_or_fileobj=sys.argv[2], path_in_repo="data.bin", repo_id=sys.argv[1], repo_type="dataset")
"""
NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error;
events {{}}
http {{ access_log off; client_max_body_size 0; client_body_temp_path {folder}/body;
  server {{ listen 127.0.0.1:{port}; root {folder}/files; dav_methods PUT; }} }}
"""


@dataclass(frozen=True, slots=True)
class Cost:
    case: str
    server: float  # CPU seconds
    client: float  # CPU seconds
    wall: float  # seconds
    stored: int  # bytes more on the server's disk

    def per_gib(self, size: int) -> float:
        return self.server / size * (1 << 30)


def cpu_of(process: psutil.Process) -> float:
    """Of a process and all under it, those that have ended too."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        total += times.user + times.system
    own = process.cpu_times()
    return float(total + own.children_user + own.children_system)


def bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and ".db" not in file.name)


def measured(case: str, server: psutil.Process, folder: Path, argv: list[str], environment: dict[str, str]) -> Cost:
    before, stored, began = cpu_of(server), bytes_in(folder), time.perf_counter()
    client = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = client.stderr.read() if client.stderr else b""
    _, status, used = os.wait4(client.pid, 0)
    took = time.perf_counter() - began
    if status:
        raise SystemExit(f"{case}: the client failed\n{said.decode()[-2000:]}")
    time.sleep(1)
    return Cost(case, cpu_of(server) - before, used.ru_utime + used.ru_stime, took, bytes_in(folder) - stored)


def random_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        for at in range(0, size, PIECE):
            file.write(os.urandom(min(PIECE, size - at)))


def with_insertion(path: Path, source: Path, more: int) -> None:
    """The same with so many random bytes put into its middle."""
    with source.open("rb") as whole, path.open("wb") as file:
        left = source.stat().st_size // 2
        while left:
            piece = whole.read(min(PIECE, left))
            file.write(piece)
            left -= len(piece)
        file.write(os.urandom(more))
        shutil.copyfileobj(whole, file, PIECE)


def by_xet(folder: Path, size: int) -> list[Cost]:
    house = open_house_with_floors(load(folder / "house", {"max_file_mib": 1 << 20, "quota_mib": 0}, environment={}))
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, ORGANISATION))
    house.close()
    log = (folder / "log").open("wb")
    argv = [sys.executable, "-m", "lilong.cli", "up", "--house", str(folder / "house"), "--port", "0"]
    process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        while (found := running(folder / "house")) is None:
            time.sleep(0.1)
        time.sleep(2)
        server, kept = psutil.Process(process.pid), folder / "house"
        token = (kept / "keys" / "operator.token").read_text().strip()
        plain = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
        plain |= {"HF_ENDPOINT": found.url, "HF_TOKEN": token}
        one, other, fresh = folder / "one", folder / "other", folder / "fresh"
        random_file(one, size)
        random_file(fresh, size)
        with_insertion(other, one, 1 << 20)

        def upload(case: str, name: str, file: Path, home: str, **more: str) -> Cost:
            words = [sys.executable, "-c", CLIENT, f"{ORGANISATION}/{name}", str(file)]
            return measured(case, server, kept, words, {**plain, "HF_HOME": str(folder / home), **more})

        return [
            upload("random bytes", "first", one, "home"),
            upload("the same again, to another repository", "second", one, "home"),
            upload("the same by a client without a cache", "third", one, "empty"),
            upload("1 MiB put into its middle", "first", other, "home"),
            upload("other random bytes, by Git LFS", "fourth", fresh, "lfs", HF_HUB_DISABLE_XET="1"),
        ]
    finally:
        process.terminate()
        process.wait()
        log.close()


def by_nginx(folder: Path) -> Cost | None:
    nginx, curl = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"), shutil.which("curl")
    if nginx is None or curl is None:
        return None
    place = folder / "nginx"
    (place / "files").mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "conf").write_text(NGINX.format(folder=place, port=port) + ("" if os.getuid() else "user root;"))
    process = subprocess.Popen([nginx, "-c", str(place / "conf"), "-p", str(place)], stderr=subprocess.DEVNULL)
    try:
        until(lambda: socket.create_connection(("127.0.0.1", port)).close())
        argv = [curl, "-fsS", "-H", "Expect:", "-T", str(folder / "one"), f"http://127.0.0.1:{port}/one"]
        return measured("plain PUT to nginx, by curl", psutil.Process(process.pid), place, argv, dict(os.environ))
    finally:
        process.terminate()
        process.wait()


def until(try_it: Callable[[], None]) -> None:
    for _ in range(100):
        try:
            return try_it()
        except OSError:
            time.sleep(0.05)
    raise SystemExit("nginx did not start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder, size = Path(tempfile.mkdtemp(dir=asked.folder)), asked.mib << 20
    try:
        costs = by_xet(folder, size)
        nginx = by_nginx(folder)
    finally:
        shutil.rmtree(folder)
    costs += [nginx] if nginx else []
    machine = f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    if asked.json:
        print(json.dumps({"machine": machine, "mib": asked.mib, "costs": [asdict(cost) for cost in costs]}, indent=1))
        return
    print(f"{asked.mib} MiB; {machine}")
    print(f"{'':42}{'server CPU-s':>14}{'per GiB':>9}{'client CPU-s':>14}{'wall s':>8}{'MiB stored':>12}")
    for cost in costs:
        row = f"{cost.server:14.2f}{cost.per_gib(size):9.2f}{cost.client:14.2f}{cost.wall:8.1f}{cost.stored / (1 << 20):12.1f}"
        print(f"{cost.case:42}{row}")


if __name__ == "__main__":
    main()
