"""What an operator declares of a Kubernetes site, under `[sites.NAME.options]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lilong.floors.compute.rules.reading import Reader
from lilong.ground.sandbox import Level

_OURS = {"containers", "volumes", "restartPolicy", "activeDeadlineSeconds", "nodeSelector", "affinity"}
_LABEL = re.compile(r"[A-Za-z0-9./_-]{1,316}=[A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path  # of the run folders: the same path in the house and in every pod
    image: str  # for jobs that name none
    kubeconfig: Path | None = None  # None: the service account of the pod that the house runs in
    context: str = ""
    namespace: str = ""  # "": the context's
    claim: str = ""  # PersistentVolumeClaim that holds the folder, and
    sub_path: str = ""  # where in it
    host_path: str = ""  # or the folder on every node
    devices: Mapping[str, str] = field(default_factory=dict)  # class -> extended resource
    labels: Mapping[str, str] = field(default_factory=dict)  # class -> NAME=VALUE of its nodes, where one resource serves several classes
    levels: Mapping[str, str] = field(default_factory=dict)  # level of the topology -> node label
    vendors: Mapping[str, str] = field(default_factory=dict)  # class -> vendor, for the files and variables of its devices
    queue: str = ""  # Kueue's local queue
    python: str = "python3"  # in the images; 3.11 or later
    program: str = ""  # PYTHONPATH in the images; "": a copy of what is needed, laid into the folder
    sandbox: str = "none"  # the least level inside the container, which is one itself
    user: int | None = None  # that the containers run as
    pod: Mapping[str, Any] = field(default_factory=dict)  # more of the pods' spec: tolerations, priorityClassName, imagePullSecrets


def read(site: str, options: Mapping[str, Any]) -> Options:
    """Raises BadInput, which names the key."""
    table = Reader(options, f"sites.{site}.options")
    folder = table.text("folder")
    if not folder.startswith("/") or ".." in Path(folder).parts:
        raise table.wrong(
            "folder", f"{folder!r} is no absolute path", 'Give a folder on a disk that pods can mount too: folder = "/srv/lilong".'
        )
    claim, host_path = table.text("claim"), table.text("host_path")
    if bool(claim) == bool(host_path):
        raise table.wrong(
            "claim", "the folder has to reach the pods in one way", "Give either claim (a PersistentVolumeClaim) or host_path."
        )
    labels = table.words("labels")
    for name, label in labels.items():
        if not _LABEL.fullmatch(label):
            raise table.wrong(f"labels.{name}", f"{label!r} is no label", 'Write it as "nvidia.com/gpu.product=NVIDIA-H20".')
    image = table.text("image")
    if not image:
        raise table.wrong("image", "it is missing", "Name the container image of jobs that name none; it needs Python 3.11 or later.")
    pod = table.raw("pod", {})
    if not isinstance(pod, Mapping) or _OURS & set(pod):
        raise table.wrong(
            "pod", "it is not a table, or sets what the house sets itself", f"It may set anything but {', '.join(sorted(_OURS))}."
        )
    kubeconfig = table.text("kubeconfig")
    user = table.whole("user", -1, -1, 2**31 - 1)
    found = Options(
        folder=Path(folder), image=image, kubeconfig=Path(kubeconfig) if kubeconfig else None, context=table.text("context"),
        namespace=table.text("namespace"), claim=claim, sub_path=table.text("sub_path").strip("/"), host_path=host_path.rstrip("/"),
        devices=table.words("devices"), labels=labels, levels=table.words("levels"), vendors=table.words("vendors"), queue=table.text("queue"),
        python=table.text("python", "python3"), program=table.text("program"), user=user if user >= 0 else None, pod=dict(pod),
        sandbox=table.one_of("sandbox", [each.word for each in Level], Level.NONE.word),
    )  # fmt: skip
    table.end()
    return found
