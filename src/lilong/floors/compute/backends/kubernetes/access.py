"""How the house reaches an API server: a kubeconfig file, or the service account of the pod that it runs in itself."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lilong.floors.compute.backends.rest import Rest, bearer, check_private, unfit
from lilong.floors.compute.contract import SiteDown
from lilong.ground import seams
from lilong.ground.errors import BadInput

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_RENEW_S = 60.0  # a credential is asked for anew this long before it expires
_EXEC_S = 30.0


@dataclass(frozen=True, slots=True)
class Access:
    rest: Rest
    namespace: str


def in_cluster(site: str, account: Path = SERVICE_ACCOUNT) -> Access:
    """With what Kubernetes gives every pod. Raises BadInput outside of one."""
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (account / "token").is_file():
        raise BadInput(
            field=f"sites.{site}.options.kubeconfig",
            problem="it is not given, and this process does not run in a pod with a service account",
            way_out="Give the path of a kubeconfig file.",
        )
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    tls = ssl.create_default_context(cafile=str(account / "ca.crt"))
    rest = Rest(site, url, credential=bearer(account / "token"), tls=lambda: tls, way_out=_WAY_OUT)
    return Access(rest, (account / "namespace").read_text().strip())


def from_kubeconfig(site: str, path: Path, context: str = "") -> Access:
    """Read one context. Raises BadInput for what the file lacks, and for ways to sign in that are not built in."""

    def wrong(problem: str, way_out: str = "Write it with `kubectl config`, or give another file.") -> BadInput:
        return BadInput(field=f"sites.{site}.options.kubeconfig", problem=problem, way_out=way_out)

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise wrong(f"{path} cannot be read ({type(problem).__name__}: {str(problem)[:200]})") from problem
    if not isinstance(document, Mapping):
        raise wrong(f"{path} is not a kubeconfig")

    def named(kind: str, name: Any) -> Mapping[str, Any]:
        for entry in document.get(f"{kind}s") or []:
            if entry.get("name") == name:
                found: Mapping[str, Any] = entry.get(kind) or {}
                return found
        raise wrong(f"{path} has no {kind} {name!r}")

    chosen = named("context", context or document.get("current-context"))
    cluster = named("cluster", chosen.get("cluster"))
    user = named("user", chosen["user"]) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise wrong(f"the cluster {chosen.get('cluster')!r} has no server")
    if lacks := unfit(str(cluster["server"])):
        raise wrong(f"the address of the cluster {chosen.get('cluster')!r}: {lacks}")
    for file in _secret_files(path, user):
        check_private(f"sites.{site}.options.kubeconfig", file)
    credential = _credential(site, user, path.parent, wrong)
    try:
        rest = Rest(site, cluster["server"], credential=credential, tls=lambda: _tls(cluster, user, path.parent), way_out=_WAY_OUT)
    except (OSError, ValueError) as problem:
        raise wrong(f"its certificates cannot be used ({problem})") from problem
    return Access(rest, str(chosen.get("namespace") or "default"))


def _secret_files(kubeconfig: Path, user: Mapping[str, Any]) -> list[Path]:
    """Files with a credential in them: those that the kubeconfig names, and itself where it holds one."""
    named = [kubeconfig.parent / str(user[key]) for key in ("tokenFile", "client-key") if user.get(key)]
    own = [kubeconfig] if any(user.get(key) for key in ("token", "client-key-data")) else []
    return [file for file in (*own, *named) if file.is_file()]


_WAY_OUT = (
    "Look whether the API server runs and its address, certificate and credential are right (`kubectl get jobs` with the same kubeconfig)."
)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], base: Path) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    file = cluster.get("certificate-authority")
    tls = ssl.create_default_context(cadata=b64decode(data).decode() if data else None, cafile=str(base / file) if file else None)
    if cluster.get("insecure-skip-tls-verify"):
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate-data") or user.get("client-certificate"):
        with tempfile.TemporaryDirectory() as folder:  # the library reads certificates from files only
            places = []
            for part in ("client-certificate", "client-key"):
                place = Path(folder) / part
                place.touch(0o600)
                place.write_bytes(
                    b64decode(user[f"{part}-data"]) if user.get(f"{part}-data") else (base / str(user.get(part))).read_bytes()
                )
                places.append(str(place))
            tls.load_cert_chain(*places)
    return tls


def _credential(site: str, user: Mapping[str, Any], base: Path, wrong: Callable[..., BadInput]) -> Callable[[], str]:
    if user.get("tokenFile"):
        return bearer(base / user["tokenFile"])
    if user.get("token"):
        return lambda: f"Bearer {user['token']}"
    if user.get("exec"):
        return _Program(site, user["exec"])
    if user.get("auth-provider") or user.get("username"):
        raise wrong("its user signs in by password or an auth-provider", "Use a token, a client certificate or an exec plugin.")
    return lambda: ""


class _Program:
    """A program of the operator's that prints a credential (client.authentication.k8s.io ExecCredential); kept until it expires."""

    def __init__(self, site: str, told: Mapping[str, Any]) -> None:
        self._site = site
        self._argv = [str(told["command"]), *map(str, told.get("args") or [])]
        self._env = {entry["name"]: entry["value"] for entry in told.get("env") or []}
        self._version = str(told.get("apiVersion", "client.authentication.k8s.io/v1"))
        self._kept, self._until = "", 0.0

    def __call__(self) -> str:
        if time.time() < self._until:
            return self._kept
        asked = json.dumps({"apiVersion": self._version, "kind": "ExecCredential", "spec": {"interactive": False}})
        env = {**os.environ, **self._env, "KUBERNETES_EXEC_INFO": asked}
        try:
            done = seams.run(self._argv, env=env, timeout=_EXEC_S)
            status = json.loads(done.stdout)["status"]
            self._kept = f"Bearer {status['token']}"
        except (OSError, ValueError, KeyError, subprocess.TimeoutExpired) as problem:
            way_out = f"Run `{self._argv[0]}` by hand, as the user that the house runs as."
            raise SiteDown(
                site=self._site, problem=f"the kubeconfig's credential program gave none ({problem})", way_out=way_out
            ) from problem
        expires = status.get("expirationTimestamp")
        self._until = seams.parse_stamp(expires).timestamp() - _RENEW_S if expires else float("inf")
        return self._kept
