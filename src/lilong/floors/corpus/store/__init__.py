"""SQL on the corpus floor's own tables."""

from .common import fail, started
from .source_sets import add_source_set, finish_source_set, source_set, source_set_by_key, source_set_of_job, source_sets, tree
from .texts import keep_text, missing_text, text_sizes
from .versions import (
    add_files,
    add_version,
    asked,
    by_ids,
    files,
    finish_version,
    moved,
    result,
    version,
    version_by_key,
    version_of_job,
    versions,
    versions_by_file,
    versions_in,
    versions_of_sets,
    versions_without_files,
)

__all__ = [
    "add_files",
    "add_source_set",
    "add_version",
    "asked",
    "by_ids",
    "fail",
    "files",
    "finish_source_set",
    "finish_version",
    "keep_text",
    "missing_text",
    "moved",
    "result",
    "source_set",
    "source_set_by_key",
    "source_set_of_job",
    "source_sets",
    "started",
    "text_sizes",
    "tree",
    "version",
    "version_by_key",
    "version_of_job",
    "versions",
    "versions_by_file",
    "versions_in",
    "versions_of_sets",
    "versions_without_files",
]  # fmt: skip
