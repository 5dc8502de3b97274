"""Near duplicates: the words they are compared by, signatures, clusters. Golden answers are datatrove 0.10.1's (data/dedup_oracle.py)."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lilong.floors.corpus.curation.dedup import clusters, kernels
from lilong.floors.corpus.curation.dedup.minhash import Banding, Signer, band_keys
from lilong.floors.corpus.curation.dedup.recall import drawing, s_curve
from lilong.floors.corpus.curation.dedup.simplify import Simplifier
from lilong.floors.corpus.curation.texts import Texts
from lilong.ground.errors import BadInput

GOLDEN = json.loads((Path(__file__).parent / "data" / "dedup_golden.json").read_text())["texts"]
SIGNER = Signer()
nasty = st.text(alphabet=st.sampled_from("aZ09.,' \n\t\u00a0\u2028\x00\r\u0301\u302e\u1b44Σσéİ中가€→🙂²٣km"), max_size=80)


def shuffled(count: int, seed: int) -> list[int]:
    return random.Random(seed).sample(range(count), count)


def test_the_words_of_nasty_texts_are_datatroves() -> None:
    words = Simplifier().words(Texts.of([one["text"] for one in GOLDEN]))
    differ = [one["text"] for row, one in enumerate(GOLDEN) if words.of(row) != one["words"]]
    assert differ == []


def test_signatures_are_datatroves_bit_for_bit() -> None:
    signatures, shingles = SIGNER.signatures(Texts.of([one["text"] for one in GOLDEN]))
    for row, one in enumerate(GOLDEN):
        digest = hashlib.sha256(signatures[row].astype("<u8").tobytes()).hexdigest() if shingles[row] else None
        assert digest == one["signature"], one["text"]


@given(st.lists(nasty, max_size=5))
@settings(deadline=None, max_examples=50)
def test_a_signature_depends_on_its_text_alone(texts: list[str]) -> None:
    together = SIGNER.keys(Texts.of(texts))
    apart = [Signer(SIGNER.banding, SIGNER._simplifier).keys(Texts.of([text]))[0] for text in texts]
    assert together.tolist() == [row.tolist() for row in apart]


def test_a_slice_of_an_arrow_column_is_signed_like_its_texts() -> None:
    column = pa.array([one["text"] for one in GOLDEN[:40]], pa.large_string())
    assert (SIGNER.keys(Texts.of(column.slice(7, 20))) == SIGNER.keys(Texts.of(column))[7:27]).all()


@given(st.binary(max_size=100), st.sampled_from([0, 1, 13]))
def test_xxh64_is_xxh64(data: bytes, seed: int) -> None:
    xxhash = pytest.importorskip("xxhash")
    padded = np.frombuffer(b"ab" + data + b"c", np.uint8)
    assert int(kernels.xxh64(padded, 2, 2 + len(data), np.uint64(seed))) == xxhash.xxh64_intdigest(data, seed)


def test_permutations_are_those_of_plain_python() -> None:
    """The definition in slow words, on words that need no simplification."""
    text = "quiet boats lie in the lantern works harbour until spring comes back"
    generator = np.random.RandomState(7)
    multipliers, addends = (generator.randint(low, (1 << 61) - 1, 6, dtype=np.uint64).tolist() for low in (1, 0))
    words = text.split()
    hashes = []
    for at in range(len(words) - 2):
        shingle = np.frombuffer(" ".join(words[at : at + 3]).encode(), np.uint8)
        hashes.append(int(kernels.xxh64(shingle, 0, len(shingle), np.uint64(0))))
    expected = [min((h * a + b) % 2**64 % (2**61 - 1) for h in hashes) for a, b in zip(multipliers, addends, strict=True)]
    signatures, shingles = Signer(Banding(words=3, bands=3, rows=2, seed=7)).signatures(Texts.of([text]))
    assert (signatures[0].tolist(), shingles.tolist()) == (expected, [len(hashes)])


def test_band_keys_are_equal_where_bands_are() -> None:
    signatures = np.arange(24, dtype=np.uint64).reshape(2, 12)
    signatures[1, 4:8] = signatures[0, 4:8]
    keys = band_keys(signatures, Banding(bands=3, rows=4))
    assert (keys[0] == keys[1]).tolist() == [False, True, False]


def test_a_text_with_fewer_words_than_a_shingle_is_near_to_nothing() -> None:
    assert not SIGNER.keys(Texts.of(["", "only four words here", "…"])).any()


def test_a_banding_that_means_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="bands"):
        Banding(bands=0)


def documents(groups: list[tuple[int, int]], seed: int = 0) -> tuple[pa.Table, np.ndarray]:
    """Rows (text, likeness): rows with equal likeness share a band key, rows with equal text share everything."""
    ids = [hashlib.sha256(f"{text}/{like}".encode()).hexdigest() for text, like in groups]
    keys = np.array([[like + 1, 1000 + text * 50 + like] for text, like in groups], np.uint64).reshape(-1, 2)
    table = pa.table({
        "id": pa.array(ids, pa.string()), "source": pa.array([f"harbour-{n % 2}" for n in range(len(groups))], pa.string()),
        "uri": pa.array([f"{n}.txt" for n in range(len(groups))], pa.string()), "bytes": pa.array([10 + text for text, _ in groups], pa.int64()),
        "quality": pa.array([text % 3 / 2 for text, _ in groups], pa.float64()), "licence": pa.array(["CC0-1.0" if text % 2 else "MIT" for text, _ in groups], pa.string()),
    })  # fmt: skip
    order = shuffled(len(groups), seed)
    return table.take(pa.array(order, pa.int64())), keys[order]


def test_clusters_are_connected_components() -> None:
    keys = np.array([[1, 9], [1, 8], [2, 8], [3, 7], [0, 0], [0, 0]], np.uint64)  # 0 ~ 1 by the first band, 1 ~ 2 by the second
    component, giants = clusters.components(6, 2, lambda band: keys[:, band])
    assert (component.tolist(), giants) == ([0, 0, 0, 3, 4, 5], [])


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 4)), max_size=25), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_the_table_of_clusters_does_not_depend_on_the_order_of_documents(groups: list[tuple[int, int]], seed: int) -> None:
    prefer = clusters.parse_preferences([{"column": "quality", "best": "most"}, {"column": "licence", "order": ["MIT"]}])
    one, other = (clusters.cluster(*documents(groups, number), prefer)[0] for number in (0, seed))
    assert one.equals(other)
    assert sum(one.column("kept").to_pylist()) == len(set(one.column("cluster").to_pylist()))
    assert one.column_names == list(clusters.CLUSTER_COLUMNS)


def test_the_representative_is_the_best_by_the_policy_and_then_by_id() -> None:
    table, keys = documents([(1, 0), (2, 0), (5, 0), (4, 0)])
    by_quality, _ = clusters.cluster(table, keys, clusters.parse_preferences([{"column": "quality", "best": "most"}]))
    best = max(zip(table.column("quality").to_pylist(), [-int(one, 16) for one in table.column("id").to_pylist()], strict=True))
    assert set(by_quality.column("representative").to_pylist()) == {f"{-best[1]:064x}"}
    plain, _ = clusters.cluster(table, keys)
    assert set(plain.column("representative").to_pylist()) == {min(table.column("id").to_pylist())}


def test_why_a_document_is_not_kept_is_said() -> None:
    table, _ = clusters.cluster(*documents([(1, 0), (1, 0), (2, 0), (3, 3)]), clusters.parse_preferences([{"column": "bytes"}]))
    rows = {(row["uri"], row["kept"], row["why"], row["bands"]) for row in table.to_pylist()}
    first = [row for row in table.to_pylist() if row["why"] == "exact"]
    assert len(first) == 1
    assert first[0]["bands"] == 2
    assert ("2.txt", False, "near", 1) in rows
    assert ("3.txt", True, "representative", 2) in rows


def test_a_preference_for_a_column_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(BadInput, match="quality"):
        clusters.cluster(*documents([(1, 0), (2, 0)]), clusters.parse_preferences([{"column": "beauty"}]))


def test_numbers_are_not_ordered_by_words() -> None:
    with pytest.raises(BadInput, match=r"mosst is no order.*least or most"):
        clusters.cluster(*documents([(1, 0), (2, 0)]), clusters.parse_preferences([{"column": "quality", "order": ["mosst"]}]))


@pytest.mark.parametrize("wrong", [{"best": "most"}, {"column": "bytes", "best": "nicest"}, {"column": "bytes", "more": 1}])
def test_a_preference_that_means_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="prefer"):
        clusters.parse_preferences([wrong])


def test_a_giant_bucket_is_reported_and_still_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "GIANT", 10)
    keys = np.concatenate([np.full(12, 5, np.uint64), np.arange(100, 130, dtype=np.uint64), np.zeros(20, np.uint64)])
    component, giants = clusters.components(len(keys), 1, lambda _: keys)
    assert giants == [clusters.Giant(0, 12, 0)]
    assert (component[:12] == 0).all()


def test_planted_pairs_meet_as_often_as_the_curve_says() -> None:
    banding = Banding()
    grades = s_curve(banding, pairs=150, shingles=120, grades=(0.5, 0.7, 0.8, 0.95))
    for grade in grades:
        spread = (grade.expected * (1 - grade.expected) / grade.pairs) ** 0.5
        assert abs(grade.recall - grade.expected) < 4 * spread + 0.02, grade
    assert drawing(grades, banding).count("<circle") == 4


def test_pairs_can_be_verified_before_they_are_joined() -> None:
    rng = random.Random(2)
    one, other = ([f"{'abcdefghij'[rng.randrange(10)]}{''.join(rng.choices('klmnop', k=6))}" for _ in range(60)] for _ in range(2))
    texts = Texts.of([" ".join(words) for words in (one, one[:40] + other[40:], other, one[:5] + other[:55], [])])
    shingles = [{tuple(text.split()[at : at + 5]) for at in range(len(text.split()) - 4)} for text in texts]
    left, right = np.array([0, 0, 2, 3, 4, 4]), np.array([1, 2, 3, 3, 0, 4])
    expected = [len(shingles[a] & shingles[b]) / max(1, len(shingles[a] | shingles[b])) for a, b in zip(left, right, strict=True)]
    assert SIGNER.jaccard(texts, left, right).tolist() == expected
    keys = np.array([[7], [7], [7], [7], [0]], np.uint64)
    left, right = clusters.pairs(1, lambda band: keys[:, band])
    alike = SIGNER.jaccard(texts, left, right) >= 0.4
    assert clusters.joined(5, left[alike], right[alike]).tolist() == [0, 0, 2, 2, 4]


@given(st.lists(st.integers(0, 3), max_size=20), st.integers(1, 30))
def test_pairs_of_a_bucket_connect_it_and_are_capped(keys: list[int], near: int) -> None:
    column = np.array(keys, np.uint64)
    left, right = clusters.pairs(1, lambda _: column, near)
    assert (left < right).all()
    assert all(keys[a] == keys[b] != 0 for a, b in zip(left.tolist(), right.tolist(), strict=True))
    assert len(left) <= (near + 1) * len(keys)
    if near >= 20:
        assert len(left) == sum(keys[a] == keys[b] != 0 for b in range(len(keys)) for a in range(b))
    assert clusters.joined(len(keys), left, right).tolist() == [row if key == 0 else keys.index(key) for row, key in enumerate(keys)]


def test_texts_with_the_same_words_have_the_same_key() -> None:
    texts = ["Harbour-Lab, 1999!", "harbour lab  2024", "harbour\u00a0LÁB 7", "harbour lab", "", "!?"]
    keys = SIGNER.same_words(Texts.of(texts)).tolist()
    assert len({*keys[:3]}) == 1
    assert len({*keys}) == 3
    assert keys[4:] == [0, 0]
