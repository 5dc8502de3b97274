from __future__ import annotations

from typing import Any

import pytest

from lilong.floors.compat import rules
from lilong.floors.compat.contract import Certificate, NothingToExamine
from lilong.ground.errors import BadInput

DIGEST = "sha256:" + "a" * 64
FILES = {"config.json": DIGEST, "tokenizer.json": DIGEST, "model.safetensors": DIGEST}


def row(stack: str = "llama.cpp", verdict: str = "pass") -> dict[str, Any]:
    return {
        "stack": stack,
        "verdict": verdict,
        "reason": "because",
        "probe": {"name": "llama.cpp", "version": "7", "weights": "f16", "compute": "f32", "threads": 2, "device": "a processor", "file": "model-f16.gguf"},
        "kl": {"low": 0.0, "point": 1e-6, "high": None, "n": 64},
        "agreement": {"low": 0.9, "point": 1.0, "high": 1.0, "n": 64},
        "diverged": [{"prompt": 1, "position": 9, "margin": 0.1, "decisive": False}, {"prompt": 2, "position": 4, "margin": 0.1, "decisive": False}],
    }


def certificate(*rows: dict[str, Any], revoked_by: str | None = None) -> Certificate:
    return Certificate(
        digest=DIGEST,
        examination="exam-1",
        organisation="lantern-works",
        repository="lantern-works/model",
        commit="c" * 40,
        manifest=DIGEST,
        suite=DIGEST,
        cases=DIGEST,
        statement="statement-1",
        revoked_by=revoked_by,
        at="2026-01-01T00:00:00.000000Z",
        passed=(),
        rows=tuple(rules.flat(one) for one in rows),
    )


def test_a_passing_row_certifies_its_stack_and_says_what_was_examined() -> None:
    answer = rules.decide([certificate(row())], "llama.cpp")
    assert answer.holds
    assert (answer.version, answer.file, answer.certificate) == ("7", "model-f16.gguf", DIGEST)


def test_a_failing_row_gives_its_verdict_as_the_reason() -> None:
    answer = rules.decide([certificate(row(verdict="crash"))], "llama.cpp")
    assert not answer.holds
    assert answer.reason == "crash: because"


def test_the_newest_certificate_decides() -> None:
    assert not rules.decide([certificate(row(verdict="wrong")), certificate(row())], "llama.cpp").holds
    assert rules.decide([certificate(row()), certificate(row(verdict="wrong"))], "llama.cpp").holds


def test_a_certificate_of_another_stack_says_which_are_covered() -> None:
    answer = rules.decide([certificate(row("torch-bf16"))], "llama.cpp")
    assert not answer.holds
    assert "torch-bf16" in answer.reason


def test_a_revoked_certificate_certifies_nothing() -> None:
    revoked = certificate(row(), revoked_by="statement-2")
    assert not rules.decide([revoked], "llama.cpp").holds
    assert "revoked" in rules.decide([revoked], "llama.cpp").reason
    assert rules.decide([revoked, certificate(row())], "llama.cpp").holds


def test_without_a_certificate_nothing_holds() -> None:
    assert rules.decide([], "llama.cpp").reason == "this revision has no compatibility certificate"


def test_a_flat_row_names_the_earliest_divergence() -> None:
    line = rules.flat(row())
    assert (line.diverged, line.first_divergence, line.kl_high) == (2, 4, None)


def test_a_row_of_a_stack_that_never_started_is_flat_too() -> None:
    line = rules.flat({"stack": "llama.cpp", "verdict": "refused", "reason": "no GGUF", "probe": None, "kl": None, "agreement": None, "diverged": []})
    assert (line.positions, line.kl, line.software) == (0, None, None)


def test_a_certificate_of_other_files_is_refused() -> None:
    content = {"model": FILES, "rows": [row()]}
    assert rules.unlike(content, FILES) == ""
    assert "other model files" in rules.unlike(content, FILES | {"config.json": "sha256:" + "b" * 64})
    assert "no rows" in rules.unlike(content | {"rows": []}, FILES)


def test_only_files_that_stacks_read_are_given_to_the_job() -> None:
    kept = rules.model_files("o/m@main", {**FILES, "README.md": DIGEST, "logs/loss.json": DIGEST, "model-f16.gguf": DIGEST})
    assert set(kept) == {*FILES, "model-f16.gguf"}


@pytest.mark.parametrize("missing", sorted(FILES))
def test_a_model_without_a_needed_file_is_refused_by_name(missing: str) -> None:
    files = {path: digest for path, digest in FILES.items() if path != missing}
    with pytest.raises(NothingToExamine, match=r"safetensors|config\.json|tokenizer\.json"):
        rules.model_files("o/m@main", files)


@pytest.mark.parametrize(("text", "parts"), [("o/m@abc", ("o/m", "abc")), ("o/m", ("o/m", "main"))])
def test_a_reference_is_a_name_and_a_ref(text: str, parts: tuple[str, str]) -> None:
    assert rules.split_reference(text) == parts


@pytest.mark.parametrize("text", ["m", "o/", "/m@x", "a/b/c", ""])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        rules.split_reference(text)


def test_memory_grows_with_the_weights() -> None:
    assert rules.memory_mib({"model.safetensors": 512 << 20, "model.gguf": 1 << 40}) == 1024 + 4 * 512
