"""Landlock (Linux ≥ 5.13, `man 7 landlock`) without root and without a library: restrict this process, then become a program.

Run as a script, `python -I -S landlock.py FD PROGRAM ARG…`: reads its rules as JSON from the descriptor. Standard library only.
"""

# ruff: noqa: PTH112 - descriptors and raw paths are the point here
from __future__ import annotations

import ctypes
import json
import os
import sys
from base64 import b64decode
from collections.abc import Iterable

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER, _DEATH_SIGNAL = 38, 22, 2, 1

_EXECUTE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 2, 1 << 3
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_FILE_ONLY = _EXECUTE | 1 << 1 | _READ_FILE | _TRUNCATE | _IOCTL_DEV


def _files_of(abi: int) -> int:
    """All file rights that a Landlock version knows."""
    rights = (1 << 13) - 1
    return rights | (_REFER if abi >= 2 else 0) | (_TRUNCATE if abi >= 3 else 0) | (_IOCTL_DEV if abi >= 5 else 0)


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def version() -> int:
    """The kernel's Landlock version, 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(
    readable: Iterable[str], writable: Iterable[str], network: bool, listable: Iterable[str] = (), devices: Iterable[str] = ()
) -> None:
    """From now on this thread and its children reach files only beneath these paths. Paths that are not there are left out.

    Beneath a `listable` folder names can be seen, and nothing be read.
    """
    abi = version()
    everything = _files_of(abi)
    # abstract Unix sockets and signals to outside are kept in from version 6 on; TCP from version 4 on
    attributes = _Ruleset(everything, 3 if abi >= 4 and not network else 0, 3 if abi >= 6 else 0)
    ruleset = _call(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(24 if abi >= 6 else 16 if abi >= 4 else 8), ctypes.c_uint32(0))
    device = everything & (_READ_FILE | 1 << 1 | _IOCTL_DEV)
    for rights, paths in ((_READ, readable), (everything & ~_IOCTL_DEV, writable), (_READ_DIR, listable), (device, devices)):
        for path in paths:
            try:
                parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            allowed = rights if os.path.isdir(path) else rights & _FILE_ONLY
            _call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.byref(_Beneath(allowed, parent)), ctypes.c_uint32(0))
            os.close(parent)
    _no_new_privileges()
    _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def own_loopback() -> None:
    """From now on this process is alone in a network that consists of a loopback. Raises OSError where the kernel does not allow it."""
    import fcntl
    import socket
    import struct

    user, group = os.geteuid(), os.getegid()
    if _libc().unshare(0x40000000 | (0x10000000 if user else 0)) != 0:  # CLONE_NEWNET; with CLONE_NEWUSER whoever is not root may
        raise OSError(ctypes.get_errno(), "it cannot have a loopback of its own")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123
                file.write(text)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        fcntl.ioctl(handle, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up and running


def _no_new_privileges() -> None:
    if _libc().prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no_new_privs")


def filter_calls(bpf: bytes) -> None:
    """Put this process under a seccomp filter given as BPF."""

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    _no_new_privileges()
    code = ctypes.create_string_buffer(bpf, len(bpf))
    program = Program(len(bpf) // 8, ctypes.cast(code, ctypes.c_void_p))
    if _libc().prctl(_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def main(arguments: list[str]) -> None:
    _libc().prctl(_DEATH_SIGNAL, 9, 0, 0, 0)
    with os.fdopen(int(arguments[0]), "rb") as file:
        rules = json.load(file)
    if rules["apart"]:
        own_loopback()
    restrict(rules["readable"], rules["writable"], rules["network"], rules["listable"], rules["devices"])
    filter_calls(b64decode(rules["filter"]))
    try:
        os.execvpe(arguments[1], arguments[1:], rules["env"])  # noqa: S606 - becoming the program is the point
    except OSError as error:
        print(f"{arguments[1]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(127) from None


if __name__ == "__main__":
    main(sys.argv[1:])
