"""Bubblewrap: a private view of the machine from namespaces. Nothing is there but what is bound in."""

# ruff: noqa: PTH115 - descriptors and raw paths are the point here
from __future__ import annotations

import functools
import os
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

from lilong.ground.sandbox.levels import ETC_NETWORK, Bind, Launch, Sandbox
from lilong.ground.sandbox.syscalls import deny_filter

NOBODY = 65534
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "mime.types", "nsswitch.conf")
_SYS = ("/sys/devices/system/cpu", "/sys/devices/system/node")
"""How many cores and memory nodes there are: OpenMP and llama.cpp read it."""
_HIDDEN = (
    *("kcore", "kallsyms", "keys", "key-users", "kmsg", "kpagecgroup", "kpagecount", "kpageflags", "mtrr", "sched_debug"),
    *("slabinfo", "timer_list", "vmallocinfo"),
)
"""Files of /proc that the owner may read or write: where the house runs as root, the program's user is root's shadow."""
_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "asound", "driver")
"""Bubblewrap 0.8 covers some of these only if its own user may write the *folder*: as root's shadow a program could else write
the files in them, `/proc/sys/kernel/core_pattern` among them, which runs a program of its choice as root on the host."""
_ACCOUNTS = {
    "/etc/passwd": "job:x:65534:65534::/tmp:/bin/sh\n",
    "/etc/group": "job:x:65534:\n",
}


def program() -> str | None:
    return shutil.which("bwrap", path=os.environ.get("PATH", os.defpath) + ":/usr/bin:/usr/local/bin")


@functools.cache
def _options(bwrap: str) -> str:
    return subprocess.run([bwrap, "--help"], capture_output=True, text=True, check=False, env={}).stdout


def launch(sandbox: Sandbox, base: tuple[Bind, ...]) -> Launch:
    """How to start `sandbox` with the folders of `base` (the system's Python) read-only at their own paths.

    The options go through a descriptor and the environment of bubblewrap itself is empty: both of its own processes can be
    seen from inside (`/proc/1/{environ,cmdline}`), and would tell the caller's secrets and the house's paths.
    Raises FileNotFoundError without bubblewrap, ImportError or OSError without libseccomp.
    """
    bwrap = program()
    if bwrap is None:
        raise FileNotFoundError("bwrap")
    files = {Path(path).name: (path, text.encode()) for path, text in _ACCOUNTS.items()}
    data = {name: text for name, (_, text) in files.items()} | {"filter": deny_filter(True), "options": _option_file(bwrap, sandbox, base)}
    argv = [bwrap, "--seccomp", "{fd:filter}", "--info-fd", "{fd:info}", "--block-fd", "{fd:block}"]
    for name, (path, _) in files.items():
        argv += ["--perms", "0444", "--file", f"{{fd:{name}}}", path]
    return Launch(
        argv=(*argv, "--args", "{fd:options}", "--", *sandbox.argv),
        env={},
        level="bubblewrap",
        limits=sandbox.limits,
        data={name: b64encode(content).decode() for name, content in data.items()},
        held=True,
        cwd="/",
        watched=tuple(str(bind.source) for bind in sandbox.binds if bind.writable),
    )


def _option_file(bwrap: str, sandbox: Sandbox, base: tuple[Bind, ...]) -> bytes:
    words = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try"]
    words += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "sandbox"]
    words += ["--uid", str(NOBODY), "--gid", str(NOBODY), "--clearenv"]
    if "--disable-userns" in _options(bwrap):
        words.append("--disable-userns")
    if not sandbox.network:
        words.append("--unshare-net")
    words += _system(sandbox.network)
    for folder, size in (("/dev/shm", sandbox.limits.tmp_bytes), ("/tmp", sandbox.limits.tmp_bytes)):  # noqa: S108
        if "--size" in _options(bwrap):
            words += ["--size", str(size)]
        words += ["--tmpfs", folder]
    # a folder before what lies within it
    for bind in sorted((*base, *sandbox.binds), key=lambda bind: len(Path(bind.seen_at).parts)):
        words += ["--bind" if bind.writable else "--ro-bind", str(bind.source), bind.seen_at]
    for path in sandbox.devices:
        words += ["--dev-bind-try", path, path]
    for key, value in sandbox.env.items():
        words += ["--setenv", key, value]
    # the two file systems that bubblewrap makes itself would otherwise be places to fill the memory
    words += ["--chdir", sandbox.cwd, "--remount-ro", "/dev", "--remount-ro", "/"]
    return b"".join(word.encode() + b"\0" for word in words)


def _system(network: bool) -> list[str]:
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _MERGED:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path).lstrip("/"), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _ETC + (ETC_NETWORK if network else ()):
        # a symlink such as resolv.conf often leads out of /etc: bind what it leads to
        real = Path("/etc", name).resolve()
        if real.exists():
            words += ["--ro-bind", str(real), f"/etc/{name}"]
    for path in map(Path, _SYS):
        if path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    words += ["--proc", "/proc", "--dev", "/dev", "--dir", "/run", "--dir", "/var"]
    for name in _READ_ONLY:
        if Path("/proc", name).exists():
            words += ["--ro-bind", f"/proc/{name}", f"/proc/{name}"]
    for name in _HIDDEN:
        if Path("/proc", name).exists():
            words += ["--ro-bind", "/dev/null", f"/proc/{name}"]
    return words
