"""What a corpus and other texts have in common.

`EvaluationSet.of(items).matches(...)`: which test items stand in documents, and where. `Builder` and `Index`: whether a text stands in a
published version, and in which of its documents.
"""

from __future__ import annotations

from lilong.floors.corpus.curation.contamination.evaluation_set import COLUMNS, EvaluationSet, Match, Rule, recall
from lilong.floors.corpus.curation.contamination.index import Answer, Builder, Index, fingerprints

__all__ = ["COLUMNS", "Answer", "Builder", "EvaluationSet", "Index", "Match", "Rule", "fingerprints", "recall"]
