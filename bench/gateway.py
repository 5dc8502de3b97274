"""Requests per CPU-second of Lilong's gateway, nginx as a reverse proxy, and a plain starlette + httpx proxy, over one upstream.

    python bench/gateway.py            about 45 seconds; needs nginx and wrk (Debian packages)

All three run at once; each case is measured in turn, in alternating rounds, and only the CPU time of the process tree under
test counts, so other load on the machine hurts little. The gateway does all its work: token check, JSON decoding, in-flight
ledger, a receipt in a segment with group commit. nginx and the httpx proxy check no token and write nothing down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psutil

CHUNKS = 67
TOKEN = "bench-token"


def event(body: dict[str, object]) -> bytes:
    shape = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
    return b"data: " + json.dumps({**shape, **body}).encode() + b"\n\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


USAGE = {"prompt_tokens": 20, "completion_tokens": CHUNKS - 3, "total_tokens": CHUNKS + 17}
WHOLE = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 20}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
JSON_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(WHOLE) + WHOLE
EVENTS = [
    *(event({"choices": [{"index": 0, "delta": {"content": f" word{n}"}, "finish_reason": None}]}) for n in range(CHUNKS - 3)),
    event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
    event({"choices": [], "usage": USAGE}),
    b"data: [DONE]\n\n",
]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Upstream(asyncio.Protocol):
    """A model server that answers at once, from memory; a streamed answer is 67 writes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.held = b""

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            length = re.search(rb"content-length: (\d+)", self.held[:end], re.I)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.held) < size:
                return
            request, self.held = self.held[:size], self.held[size:]
            if b'"stream": true' in request or b'"stream":true' in request:
                self.transport.write(STREAM_HEAD)
                for each in EVENTS:
                    self.transport.write(chunked(each))
                self.transport.write(b"0\r\n\r\n")
            else:
                self.transport.write(JSON_ANSWER)


def run_upstream(port: int) -> None:
    import uvloop

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    uvloop.run(main())


def run_httpx_proxy(port: int, upstream: int) -> None:
    """What one writes in twenty lines: the peer that most gateways in Python are built like."""
    import httpx
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{upstream}", limits=httpx.Limits(max_keepalive_connections=64))

    async def proxy(request: Request) -> Response:
        body = await request.body()
        call = client.build_request("POST", request.url.path, content=body, headers={"content-type": "application/json"})
        answer = await client.send(call, stream=True)
        if json.loads(body).get("stream"):
            return StreamingResponse(answer.aiter_raw(), media_type="text/event-stream")
        return Response(await answer.aread(), media_type="application/json")

    app = Starlette(routes=[Route("/v1/chat/completions", proxy, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=port, http="httptools", loop="uvloop", access_log=False, log_level="error")


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream model {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://model; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }}
}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Peer:
    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu(self) -> float:
        """CPU seconds of the process tree so far."""
        top = psutil.Process(self.process.pid)
        return sum(sum(each.cpu_times()[:2]) for each in [top, *top.children(recursive=True)])


def ask(stream: bool) -> str:
    asked = {
        "model": "bench",
        "messages": [{"role": "user", "content": "Tell me of the lane houses of Shanghai."}],
        "max_tokens": 64,
        "stream": stream,
    }
    return json.dumps(asked)


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"}
            request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", ask(False).encode(), headers)
            with urllib.request.urlopen(request, timeout=5) as answer:
                assert json.load(answer)["choices"]
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def start_all(folder: Path) -> tuple[list[Peer], subprocess.Popen[bytes]]:
    from lilong.floors.serving.contract import Deployment, Key, Snapshot
    from lilong.floors.serving.gateway import snapshots

    upstream = free_port()
    stub = subprocess.Popen([sys.executable, __file__, "--upstream", str(upstream)])
    wait_for(upstream)
    ports = [free_port() for _ in range(3)]
    deployment = Deployment("dep-bench", "bench", f"tcp:127.0.0.1:{upstream}", "sha256:" + "5" * 64, organisation="hall", parallel=4096)
    key = Key("ada", "tok-bench", ("hall",))
    snapshots.save(folder / "snapshot.json", Snapshot({sha256(TOKEN.encode()).hexdigest(): key}, {"bench": deployment}))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=ports[1], upstream=upstream))
    gateway = [sys.executable, "-m", "lilong.floors.serving.gateway.process", "--folder", str(folder / "meter")]
    gateway += ["--snapshot", str(folder / "snapshot.json"), "--port", str(ports[0])]
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
    commands = {
        "lilong": gateway,
        "nginx": [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf")],
        "httpx": [sys.executable, __file__, "--httpx", str(ports[2]), str(upstream)],
    }
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    peers = [Peer(name, port, subprocess.Popen(argv, **quiet)) for (name, argv), port in zip(commands.items(), ports, strict=True)]
    for peer in peers:
        wait_for(peer.port)
    return peers, stub


def measure(peer: Peer, script: Path, seconds: float, connections: int) -> tuple[float, float, float]:
    """(requests per CPU-second, median ms, 99th percentile ms) under wrk."""
    before = peer.cpu()
    argv = [
        "wrk",
        "-t1",
        f"-c{connections}",
        f"-d{seconds:g}s",
        "--latency",
        "-s",
        str(script),
        f"http://127.0.0.1:{peer.port}/v1/chat/completions",
    ]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    spent = peer.cpu() - before
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{peer.name}: {said}")
    requests = int(re.search(r"(\d+) requests in", said)[1])  # type: ignore[index]
    return requests / spent, _ms(said, "50%"), _ms(said, "99%")


def _ms(said: str, share: str) -> float:
    found = re.search(rf"{share}\s+([\d.]+)(us|ms|s)", said)
    return float(found[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[found[2]] if found else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--upstream", type=int)
    parser.add_argument("--httpx", type=int, nargs=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.upstream:
        run_upstream(asked.upstream)
    if asked.httpx:
        run_httpx_proxy(*asked.httpx)
    for needed in ("wrk", "nginx"):
        if shutil.which(needed, path=os.environ.get("PATH", "") + ":/usr/sbin") is None:
            raise SystemExit(f"{needed} is not installed. On Debian: apt-get install {needed}")
    with tempfile.TemporaryDirectory() as name:
        report(Path(name), asked)


def report(folder: Path, asked: argparse.Namespace) -> None:
    scripts = {}
    for case, stream in (("json", False), ("stream", True)):
        scripts[case] = folder / f"{case}.lua"
        scripts[case].write_text(
            f'wrk.method = "POST"\nwrk.body = [[{ask(stream)}]]\nwrk.headers["content-type"] = "application/json"\n'
            f'wrk.headers["authorization"] = "Bearer {TOKEN}"\n'
        )
    peers, stub = start_all(folder)
    figures: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    try:
        for _ in range(asked.rounds):
            for case, script in scripts.items():
                for peer in peers:
                    figures.setdefault((case, peer.name), []).append(measure(peer, script, asked.seconds, asked.connections))
        memory = {peer.name: psutil.Process(peer.process.pid).memory_info().rss / 2**20 for peer in peers}
    finally:
        for process in [*(peer.process for peer in peers), stub]:
            process.send_signal(signal.SIGTERM)
        for process in [*(peer.process for peer in peers), stub]:
            process.wait(10)
    rate = {key: statistics.median(each[0] for each in rounds) for key, rounds in figures.items()}
    if asked.json:
        print(json.dumps({f"{case}.{name}": round(value) for (case, name), value in rate.items()}))
        return
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    print(f"{os.cpu_count()} x {cpu}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {asked.connections} connections")
    print(f"{'case':8}{'peer':8}{'req/cpu-s':>11}{'of nginx':>10}{'x httpx':>9}{'p50 ms':>9}{'p99 ms':>9}{'MiB':>7}   rounds")
    for (case, name), rounds in figures.items():
        value = rate[case, name]
        print(
            f"{case:8}{name:8}{value:11,.0f}{value / rate[case, 'nginx']:10.2f}{value / rate[case, 'httpx']:9.1f}"
            f"{statistics.median(each[1] for each in rounds):9.2f}{statistics.median(each[2] for each in rounds):9.2f}{memory[name]:7.0f}   "
            + " ".join(f"{each[0]:,.0f}" for each in rounds)
        )


if __name__ == "__main__":
    main()
