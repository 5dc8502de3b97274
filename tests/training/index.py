"""A package index on this machine: the simple repository API (PEP 503) over one folder of wheels."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@contextmanager
def package_index(folder: Path) -> Iterator[str]:
    """Serve the wheels of `folder`; yields the address to give to pip."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = self.path.strip("/").split("/")
            if parts[0] == "simple" and len(parts) == 2:
                links = (
                    f'<a href="/files/{wheel.name}#sha256={hashlib.sha256(wheel.read_bytes()).hexdigest()}">{wheel.name}</a>'
                    for wheel in folder.glob("*.whl")
                    if wheel.name.split("-")[0].replace("_", "-") == parts[1]
                )
                self._answer("text/html", "\n".join(links).encode())
            elif parts[0] == "files" and (folder / parts[-1]).is_file():
                self._answer("application/octet-stream", (folder / parts[-1]).read_bytes())
            else:
                self.send_error(404)

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()
