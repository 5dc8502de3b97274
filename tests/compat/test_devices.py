"""The devices themselves, on a tiny real model: the shipped ones keep their contract, the broken ones are caught."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from lilong.floors.compat.backends import SELF_TEST, adapter, conformance, faulty, llama_cpp, onnxruntime_cpu, torch_cpu
from lilong.floors.compat.backends.process import ProcessDevice
from lilong.floors.compat.contract import (
    REFERENCE,
    DeviceRefused,
    DeviceUnderTest,
    Limits,
    Recipe,
    ReferenceFailed,
    Row,
    StackName,
    UnknownStack,
    Verdict,
)
from lilong.floors.compat.examination.run import Examiner
from lilong.floors.compat.examination.suite import choose

TOKENS = [5, 9, 40, 17, 80, 23, 61, 12]
Open = Callable[[StackName], DeviceUnderTest]

IN_PROCESS: dict[str, Open] = {
    "torch-fp32": torch_cpu.open_device,
    "torch-bf16": torch_cpu.open_device,
    "llama.cpp": llama_cpp.open_device,
    "onnxruntime": onnxruntime_cpu.open_device,
}


def open_here(stack: StackName) -> DeviceUnderTest:
    return IN_PROCESS.get(stack, faulty.open_device)(stack)


def examine(model: Path, documents: list[str], scratch: Path, stacks: list[str], open_device: Open = open_here) -> dict[str, Row]:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))

    def encode(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    suite = choose(documents, encode, Recipe(positions=128, length=32, prompts=2, greedy_tokens=8))
    examiner = Examiner(suite, model, 1, encode, open_device, scratch, lambda step, doing: None)
    return {one.row.stack: one.row for one in examiner.run([StackName(stack) for stack in stacks])}


@pytest.mark.parametrize("stack", sorted(IN_PROCESS))
def test_a_shipped_device_keeps_its_contract(stack: str, tiny_model: Path) -> None:
    loose = 0.5 if stack == "torch-bf16" else conformance.LOOSE
    probe = conformance.check(open_here(StackName(stack)), tiny_model, TOKENS, loose=loose)
    assert probe.stack == stack


def test_correct_stacks_pass_on_a_real_model(tiny_model: Path, documents: list[str], tmp_path: Path) -> None:
    rows = examine(tiny_model, documents, tmp_path, list(IN_PROCESS))
    assert {stack: row.verdict for stack, row in rows.items()} == dict.fromkeys(IN_PROCESS, Verdict.PASS), rows
    assert rows["torch-fp32"].reference
    assert rows["llama.cpp"].tokenization is not None
    assert rows["llama.cpp"].tokenization.texts == rows["llama.cpp"].tokenization.equal


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [("shift", Verdict.WRONG), ("layer", Verdict.INACCURATE), ("nan", Verdict.WRONG), ("tokenizer", Verdict.WRONG), ("scale", Verdict.INACCURATE), ("refuse", Verdict.REFUSED)],
)
def test_a_planted_fault_is_named_for_what_it_is(fault: str, verdict: Verdict, tiny_model: Path, documents: list[str], tmp_path: Path) -> None:
    row = examine(tiny_model, documents, tmp_path, [f"faulty-{fault}"])[f"faulty-{fault}"]
    assert row.verdict is verdict, row.reason
    assert row.reason


@pytest.mark.parametrize(
    ("fault", "verdict", "words"),
    [("crash", Verdict.CRASH, "SIGSEGV"), ("hang", Verdict.HANG, "no answer within 1 s"), ("oom", Verdict.OOM, "out of memory")],
)
def test_a_device_that_dies_is_a_row_and_keeps_what_it_answered_before(
    fault: str, verdict: Verdict, words: str, tiny_model: Path, documents: list[str], tmp_path: Path
) -> None:
    limits = Limits(first_seconds=300, case_seconds=1, threads=1)

    def open_device(stack: StackName) -> DeviceUnderTest:
        if stack == REFERENCE:
            return open_here(stack)
        return ProcessDevice(stack, limits if fault == "hang" else replace(limits, case_seconds=300), tmp_path, time.monotonic)

    row = examine(tiny_model, documents, tmp_path, [f"faulty-{fault}"], open_device)[f"faulty-{fault}"]
    assert row.verdict is verdict, row.reason
    assert words in row.reason
    assert row.kl is not None
    assert row.kl.n == 32


def test_a_killed_device_leaves_no_process_behind(tmp_path: Path) -> None:
    device = ProcessDevice(StackName("onnxruntime"), Limits(), tmp_path, time.monotonic)
    device.close()
    device.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(device._process.pid, os.WNOHANG)
    with pytest.raises(DeviceRefused, match="closed"):
        device.tokenize("x")


def test_a_model_without_a_gguf_is_refused_by_llama_cpp(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((tiny_model / "config.json").read_text())
    with pytest.raises(DeviceRefused, match="no GGUF file"):
        llama_cpp.open_device(StackName("llama.cpp")).load(tmp_path, 1)


def test_an_architecture_that_the_graph_does_not_express_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(DeviceRefused, match="mamba"):
        onnxruntime_cpu.open_device(StackName("onnxruntime")).load(tmp_path, 1)


def test_without_a_working_reference_nothing_is_judged(documents: list[str], tiny_model: Path, tmp_path: Path) -> None:
    def broken(stack: StackName) -> DeviceUnderTest:
        raise DeviceRefused(stack=stack, problem="it has no weights")

    with pytest.raises(ReferenceFailed, match="no weights"):
        examine(tiny_model, documents, tmp_path, ["llama.cpp"], broken)


def test_an_unknown_stack_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownStack, match=r"llama\.cpp"):
        adapter(StackName("abacus"))


def test_every_self_test_device_has_an_adapter() -> None:
    assert all(adapter(StackName(stack)).endswith("faulty:open_device") for stack in SELF_TEST)
