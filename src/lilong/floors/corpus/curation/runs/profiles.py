"""Profiles: what a run measures, and the policy that decides by it unless another is given.

Every profile has its own signals, and besides them the language, counts of personal data, and the keys by which near duplicates meet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lilong.floors.corpus.curation.dedup.banding import FINEWEB, Banding
from lilong.ground.errors import BadInput

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from lilong.floors.corpus.curation.policies.policy import Policy
    from lilong.floors.corpus.curation.texts import Texts

_ENGINE = "lilong.floors.corpus.curation"
_MODULES = {
    "fineweb@datatrove-0.10": f"{_ENGINE}.fineweb.measure",
    "gopher-zh": f"{_ENGINE}.chinese",
    "docs": f"{_ENGINE}.documentation",
    "code": f"{_ENGINE}.code",
}
_COMMON = (f"{_ENGINE}.languages", f"{_ENGINE}.personal")
_FINEWEB = "fineweb@datatrove-0.10"


class UnknownProfile(BadInput):
    """There is no profile '{name}'. Use one of: {known}."""


class UnknownKind(BadInput):
    """There is no kind of personal data '{name}' to mask. Use any of: {known}."""


class NameTaken(BadInput):
    """A signal is called '{name}' already, so a classifier cannot be. Give it another name: --classifier my_{name}=FILE."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is measured: a profile, classifiers of one's own (name and model file), the kinds of personal data to mask in what is kept, and how
    near duplicates are found: by words, and by so many `characters` in a row in Chinese and Japanese."""

    profile: str
    classifiers: tuple[tuple[str, Path], ...] = ()
    mask: tuple[str, ...] = ()
    near: Banding = FINEWEB
    characters: int = 8


@dataclass(frozen=True, slots=True)
class Measured:
    """n documents' signals by name, n rows each; their texts as they are to be written; and (n, k) keys, 0 for none: documents
    that share one are near duplicates."""

    signals: dict[str, pa.Array]
    rewritten: pa.Array
    keys: npt.NDArray[np.uint64]


Measurer = Callable[["pa.Array"], Measured]
"""Measures a column of large strings without nulls. It keeps what it learns (a vocabulary) for the next call; no answer depends on that."""


@dataclass(frozen=True, slots=True)
class Profile:
    """`columns`: every signal and what it means."""

    name: str
    columns: Mapping[str, str]
    policy_file: Path

    def policy(self, path: Path | None = None) -> Policy:
        """The policy in a file, or the profile's own. Raises BadPolicy."""
        from lilong.floors.corpus.curation.policies.policy import BadPolicy, read_policy

        policy = read_policy(path or self.policy_file, self.columns)
        if policy.profile != self.name:
            way_out = f"Give a policy of {self.name}, or use --profile {policy.profile}."
            raise BadPolicy(
                field="profile", problem=f"the policy speaks of '{policy.profile}', the run measures '{self.name}'", way_out=way_out
            )
        return policy


def names() -> tuple[str, ...]:
    return tuple(_MODULES)


def profile(setup: Setup) -> Profile:
    """The profile with the columns of the classifiers. Raises UnknownProfile, UnknownKind, ModelNotFound, BadModel."""
    name = full_name(setup.profile)
    module = import_module(_MODULES[name])
    columns: dict[str, str] = {}
    for common in _COMMON:
        columns |= import_module(common).COLUMNS
    columns |= module.COLUMNS
    for classifier in _classifiers(setup):
        if classifier.name in columns:
            raise NameTaken(name=classifier.name)
        columns[classifier.name] = f"the label that the classifier {classifier.name} is surest of"
        columns |= dict.fromkeys(classifier.signals, "the probability of this label")
    known = import_module(f"{_ENGINE}.personal").KINDS
    for kind in setup.mask:
        if kind not in known:
            raise UnknownKind(name=kind, known=", ".join(known))
    return Profile(name, columns, getattr(module, "POLICY", None) or Path(str(module.__file__)).with_name("policy.toml"))


def full_name(name: str) -> str:
    """The name with its version, where only the part before the @ was given. Raises UnknownProfile."""
    for known in _MODULES:
        if name in (known, known.partition("@")[0]):
            return known
    raise UnknownProfile(name=name, known=", ".join(_MODULES))


def open_measurer(setup: Setup) -> Measurer:
    """A measurer for this process."""
    import numpy as np
    import pyarrow as pa

    from lilong.floors.corpus.curation import personal
    from lilong.floors.corpus.curation.dedup.shingles import Near
    from lilong.floors.corpus.curation.texts import Texts

    english = full_name(setup.profile) == _FINEWEB
    own = _fineweb() if english else _plain(_MODULES[full_name(setup.profile)])
    common = [import_module(name).measure for name in _COMMON]
    classifiers, near = _classifiers(setup), Near(setup.near, 0 if english else setup.characters)

    def measured(column: pa.Array) -> Measured:
        texts = Texts.of(column)
        values: dict[str, Any] = {}
        for measure in (*common, *classifiers):
            values |= measure(texts)
        found, rewritten = own(texts)
        values |= found
        keys = near.keys(rewritten)  # FineWeb, too, looks for near duplicates in what C4 has left
        if setup.mask:
            rewritten = personal.cleaned(rewritten, setup.mask)
        signals = {name: pa.array(np.ascontiguousarray(value)) for name, value in values.items()}
        return Measured(signals, _column(rewritten), keys)

    return measured


Own = Callable[["Texts"], tuple[dict[str, Any], "Texts"]]


def _plain(module: str) -> Own:
    measure = import_module(module).measure
    return lambda texts: (measure(texts), texts)


def _fineweb() -> Own:
    from lilong.floors.corpus.curation.fineweb.measure import measure
    from lilong.floors.corpus.curation.words import Vocabulary

    vocabulary = Vocabulary.shipped("en")

    def own(texts: Texts) -> tuple[dict[str, Any], Texts]:
        found = measure(texts, vocabulary.tokens(texts), vocabulary)
        return found.columns, found.rewritten

    return own


def _classifiers(setup: Setup) -> list[Any]:
    from lilong.floors.corpus.curation.classifiers import Classifier, Model

    return [Classifier(Model.open(path), name) for name, path in setup.classifiers]


def _column(texts: Texts) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    buffers = [None, pa.py_buffer(np.ascontiguousarray(texts.offsets)), pa.py_buffer(np.ascontiguousarray(texts.data))]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers)
