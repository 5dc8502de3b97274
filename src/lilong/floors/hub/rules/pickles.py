"""Which pickles are taken: those that import nothing but the parts of a state dict, or of the settings that a trainer saves beside it.

An allow-list over the names that loading would import, and over what it would do with them. A scanner for bad pickles can be
deceived; this follows the whole pickle as the unpickler would, and takes nothing that it does not know.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import BinaryIO

from lilong.floors.hub.scan.archives import Archive
from lilong.floors.hub.scan.forwards import Broken, Bytes
from lilong.floors.hub.scan.opcodes import Found, Global, Machine
from lilong.ground.intake import UnsafeFile

_LEGACY = 0x1950A86A20F9469CFC6C  # the number with which torch.save began before it wrote archives
_LEGACY_PARTS = 5  # that number, the protocol, facts of the system, the object, the keys of its storages; then the storages themselves
_PICKLES = 1000  # in one file
_WAY_OUT = "Save the weights as safetensors or GGUF, or as a state dict of tensors only."

_STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool", "ComplexFloat", "ComplexDouble", "QInt8", "QUInt8", "QInt32", "QUInt4x2", "QUInt2x4")  # fmt: skip
_TYPES = (
    "float64", "float32", "float16", "bfloat16", "complex32", "complex64", "complex128", "uint8", "uint16", "uint32", "uint64", "int8", "int16",
    "int32", "int64", "bool", "quint8", "qint8", "qint32", "quint4x2", "quint2x4", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
    "float8_e5m2fnuz", "float8_e8m0fnu", "float4_e2m1fn_x2",
)  # fmt: skip
_NUMPY = ("numpy.core", "numpy._core")
# What `training_args.bin` of transformers holds. An enumeration is called with one text, which names a member of it.
ENUMERATIONS: Mapping[str, frozenset[str]] = MappingProxyType({
    "transformers.trainer_utils": frozenset({"SchedulerType", "IntervalStrategy", "SaveStrategy", "HubStrategy", "FSDPOption"}),
    "transformers.training_args": frozenset({"OptimizerNames"}),
    "transformers.debug_utils": frozenset({"DebugOption"}),
    "accelerate.utils.dataclasses": frozenset({"DistributedType"}),
})  # fmt: skip
# Plain classes without __new__, __setstate__ and __del__. They may be made bare and filled, never called: their constructors act.
RECORDS: Mapping[str, frozenset[str]] = MappingProxyType({
    "transformers.training_args": frozenset({"TrainingArguments"}),
    "transformers.training_args_seq2seq": frozenset({"Seq2SeqTrainingArguments"}),
    "transformers.trainer_pt_utils": frozenset({"AcceleratorConfig"}),
    "transformers.generation.configuration_utils": frozenset({"GenerationConfig"}),
    "accelerate.state": frozenset({"PartialState"}),
    **{
        f"trl.trainer.{name.lower()}_config": frozenset({f"{name}Config"}) for name in ("SFT", "DPO", "GRPO", "Reward", "KTO", "RLOO")
    },
})  # fmt: skip
# What each makes of arguments that an enemy has chosen was looked at; none of them reaches code, files or other imports.
# Not here for that reason: torch.storage._load_from_bytes (unpickles again), torch._tensor._rebuild_from_type_v2 (calls what it is given).
ALLOWED: Mapping[str, frozenset[str]] = MappingProxyType({
    "collections": frozenset({"OrderedDict", "Counter"}),
    "builtins": frozenset({"set", "frozenset", "bytearray", "complex"}),
    "__builtin__": frozenset({"set", "frozenset", "bytearray", "complex"}),
    "_codecs": frozenset({"encode"}),
    "torch": frozenset({
        "Size", "Tensor", "device", "per_tensor_affine", "per_channel_affine", "per_tensor_symmetric", "per_channel_symmetric",
        *_TYPES, *(f"{kind}Storage" for kind in _STORAGES),
    }),
    "torch.cuda": frozenset(f"{kind}Storage" for kind in _STORAGES),
    "torch.storage": frozenset({"TypedStorage", "UntypedStorage"}),
    "torch.nn.parameter": frozenset({"Parameter"}),
    "torch.serialization": frozenset({"_get_layout"}),
    "torch._utils": frozenset({
        "_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_parameter", "_rebuild_qtensor", "_rebuild_sparse_tensor",
        "_rebuild_meta_tensor_no_storage",
    }),
    "numpy": frozenset({"dtype", "ndarray"}),
    **{f"{core}.multiarray": frozenset({"_reconstruct", "scalar"}) for core in _NUMPY},
    **{f"{core}.numeric": frozenset({"_frombuffer"}) for core in _NUMPY},
})  # fmt: skip
_ARRAYS = {Global(f"{core}.multiarray", "_reconstruct") for core in _NUMPY}
_MAPPINGS = {Global("collections", "OrderedDict"), Global("collections", "Counter")}
_DTYPE = Global("numpy", "dtype")
_SETS = {Global(module, name) for module in ("builtins", "__builtin__") for name in ("set", "bytearray")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problem` is None for what may be loaded; `imports` are the names seen until then, and whether each is allowed."""

    problem: str | None
    imports: tuple[tuple[Global, bool], ...]


def allowed(name: Global) -> bool:
    return any(_among(names, name) for names in (ALLOWED, ENUMERATIONS, RECORDS))


def _among(names: Mapping[str, frozenset[str]], name: Global) -> bool:
    return name.name in names.get(name.module, ())


def check(path: str, file: BinaryIO, size: int) -> None:
    """Raises UnsafeFile with the reason; the file is back at its beginning."""
    problem = problem_of(file, size)
    if problem is not None:
        raise UnsafeFile(path=path, problem=problem, way_out=_WAY_OUT)


def problem_of(file: BinaryIO, size: int) -> str | None:
    return judged(file, size).problem


def judged(file: BinaryIO, size: int) -> Verdict:
    """Judge a pickle, an archive of `torch.save`, or arrays of numpy."""
    found = Found()
    try:
        file.seek(0)
        _read(file, size, found)
        problem = _problem_with(found)
    except Broken as broken:
        # a name that is not allowed says more than what was odd about the bytes after it
        problem = _problem_with(found) or f"{broken}, so nobody can tell what loading it would do"
    except RecursionError:
        problem = "it is nested too deeply"
    finally:
        file.seek(0)
    return Verdict(problem, tuple((name, allowed(name)) for name in found.imports))


def _read(file: BinaryIO, size: int, found: Found) -> None:
    start = file.read(6)
    if start[:4] == b"PK\x03\x04":
        archive = Archive(file, size)
        if all(name.endswith(".npy") for name in archive.members):
            for name in archive.arrays():
                with archive.open(name) as member:
                    _array(member)
            return
        with archive.open(archive.torch_pickle()) as member:
            source = Bytes(_Guarded(member))
            _machine(source, found, storages=True).walk()
            if not source.ended:  # at the end its checksum is compared
                raise Broken("something follows the pickle in its archive")
    elif start == b"\x93NUMPY":
        file.seek(0)
        _array(file)
    else:
        file.seek(0)
        _plain(file, found)


class _Guarded:
    """A member of an archive, whose broken compression or checksum is a problem like any other."""

    def __init__(self, member: BinaryIO) -> None:
        self._member = member

    def read(self, count: int) -> bytes:
        import zlib
        from zipfile import BadZipFile

        try:
            return self._member.read(count)
        except (BadZipFile, zlib.error, EOFError, OSError) as problem:
            raise Broken(f"a member of its archive cannot be read ({problem})") from problem


def _machine(source: Bytes, found: Found, *, storages: bool) -> Machine:
    machine = Machine(source, storages=storages)
    machine.found = found
    return machine


def _plain(file: BinaryIO, found: Found) -> None:
    """Pickles one after the other to the end of the file; after the five of an old `torch.save` come storages, which are bare bytes."""
    source = Bytes(file)
    first = _machine(source, found, storages=False).walk()
    legacy = first == _LEGACY
    for number in range(1, _PICKLES):
        if legacy and number == _LEGACY_PARTS:
            return
        if source.ended:
            return
        _machine(source, found, storages=legacy).walk()
    raise Broken(f"more than {_PICKLES} pickles stand in it")


def _problem_with(found: Found) -> str | None:
    for name in found.imports:
        if not allowed(name):
            shown = "".join(c if c.isprintable() else "?" for c in str(name))[:200]
            return f"loading it would import {shown}, which is not among the parts of a state dict"
    for name in found.run:
        if _among(RECORDS, name):
            return f"it calls {name} instead of filling in what was saved of one"
    for name, arguments in found.calls:
        if _among(ENUMERATIONS, name) and not (isinstance(arguments, tuple) and len(arguments) == 1 and isinstance(arguments[0], str)):
            return f"it calls {name} with something other than the name of a member"
        if name == _DTYPE and not (isinstance(arguments, tuple) and arguments and _ELEMENT.fullmatch(str(arguments[0]))):
            return "it holds arrays of something other than numbers and texts"
    for name, state in found.builds:
        if name == _DTYPE:
            if not _plain_dtype(state):
                return "it sets the inner state of a numpy.dtype in a way that plain arrays never need"
        elif _among(RECORDS, name):
            if name in found.slotted:
                return f"it sets the inner state of a {name} by something other than a dict"
        elif name not in _ARRAYS and name not in _MAPPINGS:
            return f"it sets the inner state of a {name}"
    for name in found.filled:
        if name not in _MAPPINGS and name not in _SETS:
            return f"it puts items into a {name}"
    return None


_ELEMENT = re.compile(r"[<>|=]?(?:\?|b1|i[1248]|u[1248]|f(?:2|4|8|16)|c(?:8|16|32)|[SU]\d{1,6})")


def _plain_dtype(state: object) -> bool:
    """(version, byte order, no subarray, no names, no fields, …): the numbers in it are offsets that numpy believes."""
    return (
        isinstance(state, tuple) and len(state) == 8 and state[0] in (3, 4) and state[1] in ("<", ">", "|", "=")
        and state[2:5] == (None, None, None) and _dtype_size(state[5]) and _dtype_size(state[6]) and state[7] in (0, 8)
    )  # fmt: skip


def _dtype_size(value: object) -> bool:
    return isinstance(value, int) and -1 <= value <= 1 << 20


_HEADER = re.compile(rb"\{[ -~]{1,60000}\}\s*")


def _array(file: BinaryIO) -> None:
    """A .npy file whose elements are no Python objects (numpy.lib.format). Raises Broken."""
    guarded = _Guarded(file)
    head = guarded.read(8)
    if head[:6] != b"\x93NUMPY" or head[6:7] not in (b"\1", b"\2", b"\3"):
        raise Broken("an array of it has no header that is known")
    size = int.from_bytes(guarded.read(2 if head[6] == 1 else 4), "little")
    text = guarded.read(min(size, 1 << 16))
    if len(text) != size or not _HEADER.fullmatch(text):
        raise Broken("the header of an array cannot be read")
    try:
        header = ast.literal_eval(text.decode("ascii").strip())
        kinds = _kinds(header["descr"])
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        raise Broken("the header of an array cannot be read") from None
    if any("O" in kind for kind in kinds):
        raise Broken("its arrays hold Python objects, which are pickles")


def _kinds(descr: object) -> list[str]:
    if isinstance(descr, str):
        return [descr]
    if isinstance(descr, list):
        return [kind for item in descr for kind in _kinds(item[1])]
    raise ValueError("no descr")
