"""Tokenised text as memory-mapped shards, the form that training loops read.

    index.json          the tokenizer's digest, type of a token, separator, languages, and of each shard: documents, tokens, digests
    tokens-00000.bin    the shard's tokens, little-endian uint16 (uint32 where the vocabulary needs it), each document ended by the separator
    tokens-00000.idx    uint64 per document: where it ends in the .bin, in tokens

Documents keep the order of the table that they come from. Shards are made one by one, so an interrupted run goes on with the next one, and
the bytes do not depend on the number of workers.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lilong.floors.corpus.curation.runs import durable, processes
from lilong.ground.errors import BadInput, Conflict, Corrupt, Unavailable

SHARD_BYTES = 64 << 20
"""Bytes of text from which on a shard is full; it ends with the row group that fills it."""
_AT_ONCE = 256
_CHECKED = 32
"""Of so many documents of each `_AT_ONCE`, both tokenizers' answers are compared before the faster one's are taken."""
_SEPARATORS = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|im_end|>", "[SEP]")
Encode = Callable[[list[str]], list[list[int]]]


class NoTokenizer(BadInput):
    """The tokenizer '{path}' cannot be used: {problem}. Give the tokenizer.json of a model."""


class NoTokenizerLibrary(Unavailable):
    """Tokenising needs the package tokenizers. Run `pip install 'lilong[models]'`."""


class NoSeparator(BadInput):
    """The tokenizer '{path}' has no token '{token}' to end documents with. Give --separator one of its special tokens: {known}."""


class OtherTokens(Conflict):
    """The folder {folder} holds the tokens of other texts, or of another tokenizer. Give another --out, or remove the folder."""


class DamagedShard(Corrupt):
    """The token shard {place} does not hold what was written there: {problem}."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished shard. `key` is the digest of all that decided about its bytes; the digests are sha256 of its two files."""

    key: str
    name: str
    first: int
    documents: int
    tokens: int
    characters: int
    bin: str
    idx: str


@dataclass(frozen=True, slots=True)
class _Task:
    table: Path
    tokenizer: Path
    separator: int
    dtype: str
    out: Path
    name: str
    key: str
    groups: tuple[int, ...]
    first: int


def tables_of(path: Path) -> list[Path]:
    """A Parquet file; or in a folder a run's documents.parquet, or the training split of a corpus version. Raises BadInput."""
    run = path / "documents.parquet"
    found = [path] if path.is_file() else [run] if run.is_file() else sorted((path / "data").glob("train-*.parquet"))
    if not found:
        way_out = "Give a Parquet file with a column `text`, the --out folder of a run, or a corpus version with data/train-*.parquet."
        raise BadInput(field=str(path), problem="there are no documents in it", way_out=way_out)
    return found


def tokenise(
    tables: Path | Sequence[Path],
    tokenizer: Path,
    out: Path,
    *,
    workers: int = 1,
    separator: str | None = None,
    told: Callable[[int], None] = lambda bytes_: None,
) -> dict[str, Any]:
    """Tokenise the column `text` of Parquet files into `out`; answers what stands in its index.json. `told` hears of bytes of text done.

    A text is taken whole, and its special tokens as plain text, as the training floor takes it.

    Raises NoTokenizer, NoTokenizerLibrary, NoSeparator, OtherTokens.
    """
    tables = [tables] if isinstance(tables, Path) else list(tables)
    tokenizer = tokenizer / "tokenizer.json" if tokenizer.is_dir() else tokenizer
    loaded = _load(tokenizer)
    token = _separator(loaded, tokenizer, separator)
    dtype = "<u2" if max(loaded.get_vocab(with_added_tokens=True).values()) < 1 << 16 else "<u4"  # numbers may be left out
    out.mkdir(parents=True, exist_ok=True)
    with durable.alone(out):
        durable.sweep(out)
        made = {"tokenizer": _digest(tokenizer), "separator": token, "dtype": dtype}
        tasks = [
            _Task(table, tokenizer, token, dtype, out, name, key, groups, first) for table, name, key, groups, first in _plan(tables, made)
        ]
        _check_folder(out, [task.key for task in tasks])
        shards = []
        for shard, size in zip(_carried_out(tasks, workers), _sizes(tasks), strict=True):
            shards.append(shard)
            told(size)
        index = {**made, "separator_text": loaded.id_to_token(token), "shards": [asdict(shard) for shard in shards]}
        for count in ("documents", "tokens", "characters"):
            index[count] = sum(getattr(one, count) for one in shards)
        index["languages"] = _languages(tables)
        durable.write_json(out / "index.json", index)
    return index


def _check_folder(out: Path, keys: Sequence[str]) -> None:
    """Raises OtherTokens for a folder with the finished tokens of something else."""
    index = out / "index.json"
    if index.is_file() and [one.get("key") for one in json.loads(index.read_bytes()).get("shards", ())] != list(keys):
        raise OtherTokens(folder=out)


class TokenShards:
    """Token shards, mapped into memory: `shards[i]` are the tokens of document i without its separator."""

    def __init__(self, folder: Path) -> None:
        """Raises DamagedShard where a file is not as long as the index says."""
        self.index: dict[str, Any] = json.loads((folder / "index.json").read_bytes())
        self._bins: list[npt.NDArray[Any]] = []
        self._ends: list[npt.NDArray[np.uint64]] = []
        for shard in self.index["shards"]:
            path = folder / f"{shard['name']}.bin"
            size, width = shard["tokens"], np.dtype(self.index["dtype"]).itemsize
            if path.stat().st_size != size * width:
                raise DamagedShard(place=path, problem=f"it has {path.stat().st_size} bytes, not {size * width}")
            self._bins.append(np.memmap(path, self.index["dtype"], "r") if size else np.zeros(0, self.index["dtype"]))
            self._ends.append(np.fromfile(path.with_suffix(".idx"), "<u8"))
        self._firsts = np.cumsum([0, *(len(ends) for ends in self._ends)])

    def __len__(self) -> int:
        return int(self._firsts[-1])

    def __getitem__(self, document: int) -> npt.NDArray[Any]:
        shard = int(np.searchsorted(self._firsts, document, "right")) - 1
        at = document - int(self._firsts[shard])
        ends = self._ends[shard]
        return self._bins[shard][int(ends[at - 1]) if at else 0 : int(ends[at]) - 1]


def _plan(tables: Sequence[Path], made: dict[str, Any]) -> Iterator[tuple[Path, str, str, tuple[int, ...], int]]:
    """Table, name, key, row groups and first document of each shard."""
    number = first = 0
    for table in tables:
        metadata = pq.read_metadata(table)
        column = metadata.schema.to_arrow_schema().names.index("text")
        digest = _digest(table)
        groups: list[int] = []
        size = rows = 0
        for group in range(metadata.num_row_groups):
            groups.append(group)
            size += metadata.row_group(group).column(column).total_uncompressed_size
            rows += metadata.row_group(group).num_rows
            if size >= SHARD_BYTES or group == metadata.num_row_groups - 1:
                yield table, f"tokens-{number:05d}", durable.digest([made, digest, groups]), tuple(groups), first
                groups, size, first, number, rows = [], 0, first + rows, number + 1, 0


def _languages(tables: Sequence[Path]) -> dict[str, int]:
    """Documents of each language, where the tables say so."""
    counted: Counter[str] = Counter()
    for table in tables:
        if "language" in pq.read_schema(table).names:
            counts = pc.value_counts(pq.read_table(table, columns=["language"]).column(0))
            counted.update({str(one["values"]): one["counts"] for one in counts.to_pylist()})
    return dict(counted)


def text_bytes(tables: Path | Sequence[Path]) -> int:
    """Bytes that `tokenise` will tell of in all. Raises BadInput where a file is no Parquet file with a column `text`."""
    total = 0
    for table in [tables] if isinstance(tables, Path) else tables:
        try:
            metadata = pq.read_metadata(table)
            problem = "" if "text" in metadata.schema.to_arrow_schema().names else "it has no column `text`"
        except (pa.ArrowException, OSError) as damage:
            problem = f"it is no Parquet file ({damage})"
        if problem:
            raise BadInput(field=str(table), problem=problem, way_out="Give the documents.parquet of a curation run.")
        total += _group_bytes(table, range(metadata.num_row_groups))
    return total


def _group_bytes(table: Path, groups: Iterable[int]) -> int:
    metadata = pq.read_metadata(table)
    return sum(metadata.row_group(group).total_byte_size for group in groups)


def _sizes(tasks: list[_Task]) -> Iterator[int]:
    for task in tasks:
        yield _group_bytes(task.table, task.groups)


def _carried_out(tasks: list[_Task], workers: int) -> Iterator[Shard]:
    if workers == 1 or len(tasks) < 2:
        yield from map(_shard, tasks)
        return
    with processes.pool(workers) as pool:
        yield from pool.map(_shard, tasks)


def _shard(task: _Task) -> Shard:
    """Make a shard, or answer the one that was made before. Its .json comes last."""
    done = task.out / f"{task.name}.json"
    if done.is_file():
        shard = Shard(**json.loads(done.read_bytes()))
        files = {"bin": shard.bin, "idx": shard.idx}
        if (shard.key, shard.first) == (task.key, task.first) and all(
            _digest(task.out / f"{task.name}.{end}") == value for end, value in files.items()
        ):
            return shard
    encode = _encoder(task.tokenizer)
    parts: list[npt.NDArray[Any]] = []
    sizes: list[int] = []
    characters = 0
    opened = pq.ParquetFile(task.table)
    for batch in opened.iter_batches(_AT_ONCE, row_groups=list(task.groups), columns=["text"], use_threads=False):
        texts = pc.fill_null(batch.column(0), "")
        characters += pc.sum(pc.utf8_length(texts)).as_py() or 0
        for ids in encode(texts.to_pylist()):
            ids.append(task.separator)
            parts.append(np.array(ids, task.dtype))
            sizes.append(len(ids))
    tokens = np.concatenate(parts) if parts else np.zeros(0, task.dtype)
    digests = {"bin": _written(task, "bin", tokens), "idx": _written(task, "idx", np.cumsum(sizes).astype("<u8"))}
    shard = Shard(task.key, task.name, task.first, len(sizes), len(tokens), characters, **digests)
    durable.write_json(done, asdict(shard))
    return shard


def _written(task: _Task, ending: str, values: npt.NDArray[Any]) -> str:
    durable.write(task.out / f"{task.name}.{ending}", lambda file: _fill(file, values))
    return hashlib.sha256(values.tobytes()).hexdigest()


def _fill(file: IO[bytes], values: npt.NDArray[Any]) -> None:
    file.write(values.tobytes())


def _digest(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ModuleNotFoundError:
        raise NoTokenizerLibrary from None
    if not path.is_file():
        raise NoTokenizer(path=path, problem="there is no such file")
    try:
        loaded = Tokenizer.from_file(str(path))
    except Exception as problem:  # the library raises plain Exception for whatever it cannot parse
        raise NoTokenizer(path=path, problem=str(problem)[:200]) from None
    loaded.encode_special_tokens = True  # '<|im_end|>' in a document is text, not a command
    loaded.no_truncation()
    loaded.no_padding()
    return loaded


def _separator(loaded: Any, path: Path, asked: str | None) -> int:
    for token in (asked,) if asked else _SEPARATORS:
        number = loaded.token_to_id(token)
        if number is not None:
            return int(number)
    known = ", ".join(token.content for token in loaded.get_added_tokens_decoder().values()) or "(it has none)"
    raise NoSeparator(path=path, token=asked or " or ".join(_SEPARATORS), known=known)


@cache
def _encoder(path: Path) -> Encode:
    """Texts to ids by `tokenizers`, or by gigatoken where that is installed and answers the same for some of every few texts."""
    loaded = _load(path)

    def exact(texts: list[str]) -> list[list[int]]:
        return [encoding.ids for encoding in loaded.encode_batch_fast(texts, add_special_tokens=False)]

    try:
        import gigatoken  # type: ignore[import-not-found, unused-ignore]

        fast = gigatoken.Tokenizer(path)
    except Exception:  # not installed, or it does not know this kind of tokenizer; either way the exact one does it
        return exact

    special = [token.content for token in loaded.get_added_tokens_decoder().values()]

    def checked(texts: list[str]) -> list[list[int]]:
        if any(token in text for text in texts for token in special):
            return exact(texts)
        found: list[list[int]] = fast.encode_batch_list(texts, parallel=False)
        return found if found[:_CHECKED] == exact(texts[:_CHECKED]) else exact(texts)

    return checked
