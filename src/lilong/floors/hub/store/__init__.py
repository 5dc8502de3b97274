"""SQL on the hub's own tables, a module for each kind of thing."""

from .checking import commits, dangling_refs, folder_ids, inline_contents, manifests
from .commits import (
    Commit,
    add_changes,
    add_commit,
    add_manifest,
    at,
    commit,
    commit_content,
    commits_of,
    first_with_manifest,
    fork_point,
    history,
    is_ancestor,
    last_changes,
    manifest_of,
    set_place,
    spans,
    without_place,
)
from .contents import (
    Content,
    add_contents,
    add_upload,
    contents,
    in_repository,
    known_to,
    recount,
    remove_contents,
    xet_hashes,
)
from .refs import Ref, delete_ref, move_ref, ref, refs
from .repositories import (
    SORTS,
    Held,
    Wanted,
    add_downloads,
    add_repository,
    delete_repository,
    goes_with_repository,
    move_repository,
    next_number,
    redirect,
    repositories,
    repository,
    repository_by_id,
    same_but_for_case,
    set_card,
    set_facts,
    set_gated,
    set_private,
    sizes_in,
    sort_key,
    tags_in_use,
    used_by_namespace,
)
from .trees import add_folders, add_inline, decoded, encoded, folder, inline, inline_size, inlines

__all__ = [
    "SORTS", "Commit", "Content", "Held", "Ref", "Wanted", "add_changes", "add_commit", "add_contents", "add_downloads", "add_folders",
    "add_inline", "add_manifest", "add_repository", "add_upload", "at", "commit", "commit_content", "commits", "commits_of", "contents",
    "dangling_refs", "decoded", "delete_ref", "delete_repository", "encoded", "first_with_manifest", "folder", "folder_ids", "fork_point",
    "goes_with_repository", "history", "in_repository", "inline", "inline_contents", "inline_size", "inlines", "is_ancestor", "known_to",
    "last_changes", "manifest_of", "manifests", "move_ref", "move_repository", "next_number", "recount", "redirect", "ref", "refs",
    "remove_contents", "repositories", "repository", "repository_by_id", "same_but_for_case", "set_card", "set_facts", "set_gated",
    "set_place", "set_private", "sizes_in", "sort_key", "spans", "tags_in_use", "used_by_namespace", "without_place", "xet_hashes",
]  # fmt: skip
