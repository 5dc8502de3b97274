"""What a download costs the server: CPU seconds for each GiB, by the unmodified Hugging Face client and by curl.

    python bench/hub_download.py [--mib 1024] [--folder DIR] [--json]

The server is `lilong up` on a fresh house (SQLite, xorbs on the disk), to which a file of random bytes was uploaded through Xet. Each
client is a process of its own with an empty HF_HOME. With nginx in front, its configuration is what `lilong hub nginx-config` prints.
CPU is user and system time of all server processes, nginx's among them. The peer in the same run is nginx with the same file in a
folder: as little as sending bytes from a disk can cost.
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
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from hub_upload import CLIENT, ORGANISATION, cpu_of, random_file, until

from lilong.app import open_house_with_floors
from lilong.floors.hub.rules import nginx as site
from lilong.ground.access import SYSTEM
from lilong.ground.config import load
from lilong.ground.presence import running

NAME = f"{ORGANISATION}/waves"
DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import disable_progress_bars
disable_progress_bars()
path = hf_hub_download(sys.argv[1], "data.bin", repo_type="dataset")
import os
assert os.path.getsize(path) == int(sys.argv[2])
"""


@dataclass(frozen=True, slots=True)
class Cost:
    case: str
    server: float  # CPU seconds of all server processes
    client: float  # CPU seconds
    wall: float  # seconds

    def per_gib(self, size: int) -> float:
        return self.server / size * (1 << 30)


def measured(case: str, servers: list[psutil.Process], argv: list[str], environment: dict[str, str]) -> Cost:
    before, began = sum(map(cpu_of, servers)), time.perf_counter()
    client = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = client.stderr.read() if client.stderr else b""
    _, status, used = os.wait4(client.pid, 0)
    took = time.perf_counter() - began
    if status:
        raise SystemExit(f"{case}: the client failed\n{said.decode()[-2000:]}")
    time.sleep(0.5)
    return Cost(case, sum(map(cpu_of, servers)) - before, used.ru_utime + used.ru_stime, took)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def started_nginx(folder: Path, servers: str, port: int) -> subprocess.Popen[bytes]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is not installed")
    folder.mkdir()
    paths = "".join(f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    top = f"daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error; events {{}}"
    (folder / "conf").write_text(f"{'' if os.getuid() else 'user root;'} {top} http {{ access_log off; {paths} {servers} }}")
    process = subprocess.Popen([program, "-c", str(folder / "conf"), "-p", str(folder)], stderr=subprocess.DEVNULL)
    until(lambda: socket.create_connection(("127.0.0.1", port)).close())
    return process


def costs_of(folder: Path, size: int) -> list[Cost]:
    kept = folder / "house"
    house = open_house_with_floors(load(kept, {"max_file_mib": 1 << 20, "quota_mib": 0}, environment={}))
    house.db.write(lambda tx: house.access.add_organisation(tx, SYSTEM, ORGANISATION))
    house.close()
    random_file(folder / "data.bin", size)
    port, own = free_port(), free_port()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "LILONG_"))}
    argv = [sys.executable, "-m", "lilong.cli", "up", "--house", str(kept), "--port", "0"]
    started = [
        subprocess.Popen(argv, env={**environment, "LILONG_ACCEL": "nginx"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
        started_nginx(folder / "plain", f"server {{ listen 127.0.0.1:{own}; root {folder}; sendfile on; }}", own),
    ]
    try:
        while (found := running(kept)) is None:
            time.sleep(0.1)
        config = site.config(str(kept), found.url.partition("//")[2], title="Bench", user="bench", listen=f"127.0.0.1:{port}")
        started.append(started_nginx(folder / "front", config, port))
        time.sleep(2)
        server, plain, front = (psutil.Process(process.pid) for process in started)
        environment |= {"HF_ENDPOINT": found.url, "HF_TOKEN": (kept / "keys" / "operator.token").read_text().strip()}
        upload = [sys.executable, "-c", CLIENT, NAME, str(folder / "data.bin")]
        subprocess.run(upload, env={**environment, "HF_HOME": str(folder / "up")}, check=True, stdout=subprocess.DEVNULL)

        def by_xet(case: str, servers: list[psutil.Process], url: str) -> Cost:
            home = folder / f"home-{len(servers)}"
            cost = measured(
                case, servers, [sys.executable, "-c", DOWNLOAD, NAME, str(size)], {**environment, "HF_ENDPOINT": url, "HF_HOME": str(home)}
            )
            shutil.rmtree(home)
            return cost

        def by_curl(case: str, servers: list[psutil.Process], url: str) -> Cost:
            words = ["curl", "-fsS", "-o", "/dev/null", "-H", f"authorization: Bearer {environment['HF_TOKEN']}", url]
            return measured(case, servers, words, environment)

        ahead, path = f"http://127.0.0.1:{port}", f"/datasets/{NAME}/resolve/main/data.bin"
        costs = [
            by_xet("Xet, with nginx", [server, front], ahead),
            by_xet("Xet, without nginx", [server], found.url),
        ]
        costs.append(by_curl("plain HTTP, put together from xorbs (and a copy begun)", [server], found.url + path))
        while not list((kept / "rebuilt").glob("??/*")):
            time.sleep(0.2)
        time.sleep(1)
        costs += [
            by_curl("plain HTTP, rebuilt copy, with nginx", [server, front], ahead + path),
            by_curl("plain HTTP, rebuilt copy, without nginx", [server], found.url + path),
            by_curl("plain nginx, the same file from a folder", [plain], f"http://127.0.0.1:{own}/data.bin"),
        ]
        return costs
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder, size = Path(tempfile.mkdtemp(dir=asked.folder)), asked.mib << 20
    folder.chmod(0o755)
    try:
        costs = costs_of(folder, size)
    finally:
        shutil.rmtree(folder)
    machine = f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    if asked.json:
        print(json.dumps({"machine": machine, "mib": asked.mib, "costs": [asdict(cost) for cost in costs]}, indent=1))
        return
    print(f"{asked.mib} MiB; {machine}")
    print(f"{'':56}{'server CPU-s':>14}{'per GiB':>9}{'client CPU-s':>14}{'wall s':>8}")
    for cost in costs:
        print(f"{cost.case:56}{cost.server:14.2f}{cost.per_gib(size):9.2f}{cost.client:14.2f}{cost.wall:8.1f}")


if __name__ == "__main__":
    main()
