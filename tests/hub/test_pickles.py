"""Which pickles a model repository takes: real ones by real libraries, and what an enemy would send instead."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.hub.contract import Kind
from lilong.floors.hub.rules import pickles, taking
from lilong.floors.hub.scan.forwards import Broken, Bytes
from lilong.floors.hub.scan.opcodes import Machine
from lilong.ground.intake import UnsafeFile


def problem(data: bytes) -> str | None:
    return pickles.problem_of(io.BytesIO(data), len(data))


class Calls:
    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._made = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self._made


def saved(value: Any, **options: Any) -> bytes:
    torch = pytest.importorskip("torch")
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


GOOD = pickle.dumps(collections.OrderedDict(a=1), 2)
BAD = pickle.dumps(Calls(os.system, "true"), 2)


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dicts_of_torch_are_taken(legacy: bool) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 4)).sum().backward()
    optimiser.step()
    more = {
        "p": torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
        "on": torch.device("cpu"),
        "size": torch.Size([2]),
        "type": torch.int8,
    }
    for value in (model.state_dict(), optimiser.state_dict(), more):
        assert problem(saved(value, _use_new_zipfile_serialization=not legacy)) is None


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_and_arrays_of_numbers_are_taken(protocol: int) -> None:
    numpy = pytest.importorskip("numpy")
    arrays = {
        "a": numpy.arange(5.0),
        "b": numpy.float32(2),
        "c": numpy.array(["x", "yy"]),
        "d": numpy.zeros((2, 2), dtype=bool),
        "e": numpy.int64(3),
    }
    values = [
        1,
        -2.5,
        "text",
        b"bytes",
        10**30,
        None,
        True,
        (1, (2, 3)),
        {"k": []},
        {1},
        frozenset([2]),
        bytearray(b"x"),
        1j,
        collections.Counter("aab"),
    ]
    for value in (arrays, values, collections.OrderedDict(a=1)):
        assert problem(pickle.dumps(value, protocol)) is None


def test_arrays_of_numpy_are_taken_unless_they_hold_objects() -> None:
    numpy = pytest.importorskip("numpy")
    for array, fine in (
        (numpy.ones(3), True),
        (numpy.zeros(2, dtype=[("a", "f4"), ("b", "U3")]), True),
        (numpy.array([{}], dtype=object), False),
    ):
        one, many = io.BytesIO(), io.BytesIO()
        numpy.save(one, array)
        numpy.savez_compressed(many, a=array, b=numpy.ones(2))
        assert [problem(buffer.getvalue()) is None for buffer in (one, many)] == [fine, fine]
        assert (problem(pickle.dumps(array)) is None) is (fine and array.dtype.names is None)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.system, eval, exec, getattr, __import__, pickle.loads, print])
def test_whatever_else_it_would_import_is_named(function: Callable[..., Any], protocol: int) -> None:
    assert f".{function.__name__}, which is not among the parts" in str(problem(pickle.dumps(Calls(function, "1"), protocol)))


def test_a_call_hidden_in_a_state_dict_is_found() -> None:
    torch = pytest.importorskip("torch")
    hidden = collections.OrderedDict(w=torch.ones(2), deep=[{"x": (Calls(os.system, "true"),)}])
    for legacy in (False, True):
        assert "posix.system" in str(problem(saved(hidden, _use_new_zipfile_serialization=not legacy)))


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


TRICKS: dict[str, bytes] = {
    "protocol 0 as plain text": b"cos\nsystem\n(S'true'\ntR.",
    "an instance of a class by name": b"(S'true'\nios\nsystem\n.",
    "an object from the stack": b"(cos\nsystem\nS'true'\no.",
    "a new object": b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truet\x81.",
    "a name from the stack": b"\x80\x04" + short("os") + short("system") + b"\x93" + short("true") + b"\x85R.",
    "a name from the memo": b"\x80\x04" + short("os") + b"\x94" + short("system") + b"\x94" + b"00" + b"h\x00h\x01\x93" + short("true") + b"\x85R.",
    "a name put at a far place of the memo": b"\x80\x04" + short("os") + b"r\xff\xff\x00\x00" + short("system") + b"q\x07" + b"00j\xff\xff\x00\x00h\x07\x93.",
    "a name behind a copy": b"\x80\x04" + short("system") + short("os") + b"20" + b"q\x000h\x00" + b"0" + short("os") + short("system") + b"\x93.",
    "a dotted name into an allowed class": b"\x80\x04" + short("collections") + short("OrderedDict.__init__.__globals__") + b"\x93.",
    "an allowed name of another module": b"ccollections.abc\nOrderedDict\n.",
    "a name with a carriage return": b"cos\r\nsystem\n.",
    "a name of bytes that are read as text": b"\x80\x04U\x02osU\x06system\x93.",
    "a name worked out by a call": b"\x80\x04" + short("os") + b"c_codecs\nencode\n" + short("x") + b"\x85R\x93.",
    "a call of what a call has given": b"c_codecs\nencode\n(S'x'\ntR(S'y'\ntR.",
    "the state of an encoder": b"c_codecs\nencode\n(S'x'\ntR}b.",
    "the state of a name itself": b"ccollections\nOrderedDict\n}S'x'\nI1\nsb.",
    "items put into a name": b"ccollections\nOrderedDict\nS'x'\nI1\ns.",
    "an extension by number": b"\x80\x02\x82\x01.",
    "a persistent id in a plain pickle": b"Pstorage\n.",
    "a persistent id from the stack": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "a buffer from outside": b"\x80\x05\x97.",
    "a second pickle behind a good one": GOOD + BAD,
    "a second pickle behind many": GOOD * 50 + b"cos\nsystem\n.",
    "a bad one that breaks off before its end": BAD[:-1],
    "a bad one before rubbish": BAD[:-1] + b"\xff\xff",
    "a good one with rubbish behind": GOOD + b"\xff",
    "an import that is thrown away": b"cos\nsystem\n0N.",
    "an unpickler inside": b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.",
    "a rebuilder that calls what it is given": b"ctorch._tensor\n_rebuild_from_type_v2\n.",
    "a type of numpy with offsets of its own": b"cnumpy\ndtype\n(X\x02\x00\x00\x00f8I0\nI1\ntR(I3\nX\x01\x00\x00\x00<NN}J\xff\xff\xff\x7fJ\xff\xff\xff\x7fI0\ntb.",
    "a type of numpy for objects": b"cnumpy\ndtype\n(X\x02\x00\x00\x00O8I0\nI1\ntR.",
    "nothing": b"",
    "a number of the protocol that nobody knows": b"\x80\x09N.",
    "a mark that is taken for a value": b"(.",
    "more taken than is there": b"00.",
    "a length beyond the file": b"\x80\x04\x8e" + b"\xff" * 8 + b".",
    "a text with no end": b"V" + b"a" * (2 << 20),
    "a number of memo with a sign": b"Np-1\n.",
    "compressed": b"\x1f\x8b\x08\x00" + b"\0" * 20,
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_a_trick_is_refused(trick: str) -> None:
    assert problem(TRICKS[trick]) is not None


@pytest.mark.parametrize("trick", [name for name in TRICKS if name not in ("nothing", "compressed", "a text with no end")])
def test_a_trick_in_an_archive_is_refused_too(trick: str) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        assert problem(zipped({"archive/data.pkl": TRICKS[trick], "archive/version": b"3\n"}, method)) is not None


def test_a_good_archive_is_taken_and_each_change_to_it_is_seen() -> None:
    members = {"archive/data.pkl": GOOD, "archive/byteorder": b"little", "archive/data/0": b"\0" * 64, "archive/version": b"3\n"}
    assert problem(zipped(members)) is None
    assert problem(zipped(members, zipfile.ZIP_DEFLATED)) is None
    more: dict[str, dict[str, bytes]] = {
        "code": {"archive/code/__torch__.py": b"import os"}, "constants": {"archive/constants.pkl": BAD}, "a second top": {"other/data.pkl": BAD},
        "an archive inside": {"archive/data.zip": b"PK"}, "a way out": {"archive/../data.pkl": GOOD}, "a case": {"archive/DATA.PKL": BAD},
    }  # fmt: skip
    for what, added in more.items():
        assert problem(zipped({**members, **added})) is not None, what
    whole = zipped(members)
    assert problem(b"GIF89a" + whole) is not None
    assert problem(whole + b"\0") is not None
    assert problem(whole[:-30]) is not None
    assert problem(zipped({**members, "archive/data.pkl": GOOD + BAD})) is not None


def test_an_archive_whose_readers_could_disagree_is_refused() -> None:
    members = {"archive/data.pkl": GOOD, "archive/version": b"3\n"}
    whole = zipped(members)
    crc = bytearray(whole)
    crc[len(whole[: whole.index(b"PK\x01\x02")]) + 16] ^= 1  # the checksum that the directory names
    encrypted = bytearray(whole)
    encrypted[whole.index(b"PK\x01\x02") + 8] |= 1
    renamed = bytearray(whole)
    renamed[30:46] = b"archive/data.pk_"  # the member's own header has another name than the directory
    two_ends = whole + zipped({"archive/data.pkl": BAD, "archive/version": b"3\n"})
    comment = bytearray(whole + b"PK\x05\x06")
    comment[-6:-4] = struct.pack("<H", 4)
    for data in (crc, encrypted, renamed, two_ends, comment):
        assert problem(bytes(data)) is not None


def test_a_large_archive_has_its_directory_where_it_says() -> None:
    """As torch writes beyond 4 GiB, or with many members: a second end of the directory stands before the ordinary one."""
    whole = zipped({f"a/data/{n}": b"" for n in range(66_000)} | {"a/data.pkl": GOOD})
    assert problem(whole) is None
    moved = bytearray(whole)
    moved[-22 - 20 + 8] ^= 1
    long = bytearray(whole)
    long[-22 - 20 - 56 + 43] = 1
    assert "not where its end says" in str(problem(bytes(moved)))
    assert "too large" in str(problem(bytes(long)))


def test_a_bomb_is_refused_and_not_unpacked_into_memory() -> None:
    assert "ends in the middle" in str(problem(zipped({"a/data.pkl": b"\x80\x02" + b"N0" * 400_000}, zipfile.ZIP_DEFLATED)))
    assert "opcodes" in str(problem(zipped({"a/data.pkl": b"N0" * 2_000_000 + b"N."}, zipfile.ZIP_DEFLATED)))
    assert "stack" in str(problem(b"N" * 1_100_000 + b"."))


def test_a_model_is_told_the_reason_and_a_dataset_takes_everything() -> None:
    with pytest.raises(UnsafeFile, match=r"'w\.bin' cannot be taken: loading it would import posix\.system"):
        taking.check(Kind.MODEL, "w.bin", io.BytesIO(BAD), len(BAD))
    for path in ("w.bin", "weights", "notes.txt"):
        with pytest.raises(UnsafeFile):
            taking.check(Kind.MODEL, path, io.BytesIO(BAD), len(BAD))
        taking.check(Kind.DATASET, path, io.BytesIO(BAD), len(BAD))
    file = io.BytesIO(GOOD)
    taking.check(Kind.MODEL, "w.bin", file, len(GOOD))
    assert file.tell() == 0
    for path in ("model.h5", "model.keras", "raw.bin"):
        with pytest.raises(UnsafeFile):
            taking.check(Kind.MODEL, path, io.BytesIO(b"\x89HDF\r\n"), 6)


class Recording(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own unpickler, that says what it was asked to import and makes nothing of it."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.asked: list[str] = []

    def find_class(self, module: str, name: str) -> Any:
        self.asked.append(f"{module}.{name}")
        return lambda *_, **__: collections.OrderedDict()


SEEDS = [
    GOOD,
    BAD,
    pickle.dumps({"a": [1, (2, "x")], "b": {3}}, 4),
    pickle.dumps(Calls(os.system, "true"), 4),
    pickle.dumps([1.5, b"x"] * 3, 0),
]
OPCODES = st.sampled_from([bytes([byte]) for byte in range(256)] + [short("os"), short("system"), b"cos\nsystem\n", b"\x93", b"(", b"t", b"R", b"b", b"\x94", b"h\x00"])  # fmt: skip


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 4), OPCODES), max_size=8))
@settings(max_examples=1500, deadline=None)
def test_the_walk_sees_every_import_that_the_unpickler_makes(seed: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """On broken and mended pickles of all kinds: what is taken imports allowed names only, and what the walk follows it follows as Python does."""
    data = seed
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    real = Recording(data)
    try:
        real.load()
        ended = True
    except Exception:  # whatever a broken pickle makes of the unpickler
        ended = False
    machine = Machine(Bytes(io.BytesIO(data)))
    try:
        machine.walk()
        seen = {str(name) for name in machine.found.imports}
        assert not ended or set(real.asked) == seen
        assert set(real.asked) <= seen
    except Broken:
        if ended:  # refused, though it can be loaded: the safe side
            assert problem(data) is not None
    if problem(data) is None:
        assert all(name.rpartition(".")[2] in pickles.ALLOWED.get(name.rpartition(".")[0], ()) for name in real.asked)


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_no_bytes_make_the_walk_fall_over(data: bytes) -> None:
    for start in (b"", b"\x80\x04", b"PK\x03\x04", b"\x93NUMPY"):
        assert problem(start + data) is None or isinstance(problem(start + data), str)


# --- what a trainer saves beside its weights ------------------------------------------------------------------------------


def record(name: str, state: bytes = b"}X\x01\x00\x00\x00aK\x01s", made: bytes = b")\x81") -> bytes:
    """An instance of `module name` as protocol 2 writes it: made bare, then given a state."""
    return b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n" + made + state + b"b."


ARGUMENTS = "transformers.training_args TrainingArguments"


def test_the_settings_of_a_trainer_are_taken() -> None:
    transformers = pytest.importorskip("transformers")
    try:
        arguments = transformers.TrainingArguments(
            output_dir="run", use_cpu=True, report_to="none", push_to_hub=True, eval_strategy="steps", save_strategy="epoch"
        )
    except ImportError:
        pytest.skip("accelerate is not installed")
    assert problem(saved(arguments)) is None


@pytest.mark.parametrize(
    "name", [ARGUMENTS, "transformers.training_args_seq2seq Seq2SeqTrainingArguments", "accelerate.state PartialState"]
)
def test_records_of_settings_are_taken_as_they_are_saved(name: str) -> None:
    assert problem(record(name)) is None
    member = b"\x80\x02ctransformers.trainer_utils\nSchedulerType\nX\x06\x00\x00\x00linear\x85R."
    assert problem(member) is None


@pytest.mark.parametrize(
    "made",
    [b")R", b"X\x01\x00\x00\x00a\x85R", b"X\x01\x00\x00\x00a\x85\x81", b")}\x92"],
    ids=["called", "with a text", "new with a text", "by name"],
)
def test_a_record_of_settings_is_never_called(made: bytes) -> None:
    assert "calls transformers.training_args.TrainingArguments" in str(problem(record(ARGUMENTS, made=made)))


def test_a_record_of_settings_gets_a_plain_dict_and_nothing_else() -> None:
    assert "by something other than a dict" in str(problem(record(ARGUMENTS, state=b"N}\x86")))
    assert "puts items" in str(problem(record(ARGUMENTS, state=b"K\x01K\x02s}")))


@pytest.mark.parametrize("arguments", [b")", b"K\x01\x85", b"X\x01\x00\x00\x00a]\x86"], ids=["none", "a number", "a name and members"])
def test_an_enumeration_is_only_asked_for_a_member(arguments: bytes) -> None:
    data = b"\x80\x02ctransformers.trainer_utils\nSchedulerType\n" + arguments + b"R."
    assert "something other than the name of a member" in str(problem(data))


@pytest.mark.parametrize(
    "name", ["transformers.training_args os", "transformers.trainer_utils get_last_checkpoint", "accelerate.state AcceleratorState"]
)
def test_nothing_else_of_those_libraries_is_taken(name: str) -> None:
    assert "would import" in str(problem(record(name)))
