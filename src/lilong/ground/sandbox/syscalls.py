"""The system call filter: a program that computes never needs these, an escape usually does.

A deny list, because native numeric libraries use too many calls for an allow list to hold over their releases; the
namespaces are the first wall and this is the second. Written as BPF by libseccomp, so that it can be handed over by descriptor.
"""

from __future__ import annotations

import errno
import functools
import tempfile

DENIED = (
    # namespaces and mounts: the classic way to more kernel surface
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "fsopen", "fsconfig",
    "fsmount", "fspick", "mount_setattr",
    # other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_getfd", "kcmp",
    # the kernel's keyrings are not namespaced
    "add_key", "keyctl", "request_key",
    # in-kernel programs, tracing and fault handling
    "bpf", "perf_event_open", "userfaultfd", "lookup_dcookie", "fanotify_init",
    # the machine
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "query_module", "reboot",
    "swapon", "swapoff", "syslog", "acct",
    "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "adjtimex", "stime", "iopl",
    "ioperm", "modify_ldt", "vm86", "vm86old",
    "sethostname", "setdomainname", "vhangup", "uselib", "nfsservctl", "_sysctl", "personality",
    # files by handle step around every path rule
    "name_to_handle_at", "open_by_handle_at",
    "migrate_pages", "move_pages", "mknod",
)  # fmt: skip

ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register", "memfd_secret")
"""Answered with ENOSYS, on which libraries take the older way; clone3 hides its flags from a filter, io_uring all its calls."""

NAMESPACE_FLAGS = (0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x04000000, 0x08000000, 0x02000000, 0x00000080)
"""CLONE_NEW{USER,NS,PID,NET,UTS,IPC,CGROUP,TIME}."""

TERMINAL_INJECTION = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX type into the terminal that started us."""

NEWER = (467,)
"""Calls younger than most installed libseccomp: open_tree_attr."""

_UNIX, _INET, _NETLINK, _INET6 = 1, 2, 16, 10


@functools.cache
def deny_filter(network_namespace: bool) -> bytes:
    """The filter as BPF for this machine's architecture. Raises OSError or ImportError where libseccomp is missing.

    Without a network namespace of its own, a program's internet and netlink sockets are denied here.
    """
    import pyseccomp as seccomp

    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in DENIED:
        _deny(rules, refuse, name)
    for name in ABSENT:
        _deny(rules, seccomp.ERRNO(errno.ENOSYS), name)
    for number in NEWER:
        _deny(rules, seccomp.ERRNO(errno.ENOSYS), number)
    for flag in NAMESPACE_FLAGS:
        rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    for request in TERMINAL_INJECTION:
        rules.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    # vsock, packet, AF_ALG and the like: vsock is not namespaced at all, the others are rich in past kernel faults
    families = {_UNIX, _INET, _INET6, _NETLINK} if network_namespace else {_UNIX}
    no_family = seccomp.ERRNO(errno.EAFNOSUPPORT)
    for family in range(max(families) + 1):
        if family not in families:
            rules.add_rule(no_family, "socket", seccomp.Arg(0, seccomp.EQ, family))
    rules.add_rule(no_family, "socket", seccomp.Arg(0, seccomp.GT, max(families)))
    with tempfile.TemporaryFile() as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()


def _deny(rules: object, action: int, name: str | int) -> None:
    try:
        rules.add_rule(action, name)  # type: ignore[attr-defined]
    except (OSError, ValueError):
        # a call that this architecture or this libseccomp does not have cannot be made by name either
        return
