"""What runs inside serving's jobs: `python -m lilong.floors.serving.work serve`."""

from __future__ import annotations

import signal
import sys
import threading

from lilong.floors.serving.backends import llama_cpp
from lilong.ground.blobs import digest_of_file
from lilong.ground.errors import BadInput, Corrupt
from lilong.ground.work import Workspace, carry_out, one_of


def serve(workspace: Workspace) -> None:
    """Serve one model until SIGTERM.

    Input `model/`: the files of a hub revision. spec: {"model": "model-f16.gguf", "name", "context", "parallel", "threads",
    "digests": {path: "sha256:…"}}. Listens on LILONG_STATE/service.sock; GET /health answers 200 when it is ready.
    Raises Corrupt where a file is not the one that was deployed.
    """
    spec = workspace.spec
    plan = llama_cpp.Plan.parse(spec)
    folder = workspace.input("model")
    workspace.progress(0, 3, "checking the model's files against their digests")
    digests = spec.get("digests", {})
    if plan.model not in digests:
        raise BadInput(field="digests", problem=f"there is none for {plan.model}", way_out="Give the digest of every file.")
    for path, digest in sorted(digests.items()):
        file = folder / path
        if not file.is_file():
            raise Corrupt(place=f"the input model/{path}", problem="the file is not there")
        found = digest_of_file(file).digest
        if found != digest:
            raise Corrupt(place=f"the input model/{path}", problem=f"it has the digest {found}, and {digest} was deployed")
    workspace.progress(1, 3, "loading the model")
    server = llama_cpp.start(folder / plan.model, plan, workspace.state)
    workspace.progress(3, 3, "serving")
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    del server
    workspace.finish({"served": plan.name})


VERBS = {"serve": serve}

if __name__ == "__main__":
    raise SystemExit(carry_out(one_of(VERBS, sys.argv[1:])))
