-- Repositories fetched from other hubs. A job goes on after a crash where these rows say that it was.
CREATE TABLE hub_imports (
    id TEXT PRIMARY KEY,
    mode TEXT NOT NULL,             -- copy | mirror
    kind TEXT NOT NULL,
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,             -- of the repository here, organisation/name
    private INTEGER NOT NULL,
    endpoint TEXT NOT NULL,         -- address of the other hub
    source TEXT NOT NULL,           -- name of the repository there
    revision TEXT NOT NULL,         -- as asked for
    pinned TEXT NOT NULL,           -- the commit there, once it is known
    excluded TEXT NOT NULL,         -- JSON: patterns of paths that are left out
    with_token INTEGER NOT NULL,    -- 1: the source's token lies in a file under keys/
    state TEXT NOT NULL,            -- requested | running | done | failed | cancelled
    stage TEXT NOT NULL,            -- resolve | list | fetch | commit
    error TEXT NOT NULL,
    made TEXT NOT NULL,             -- the commit here
    manifest TEXT NOT NULL,
    statement TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE INDEX hub_imports_state ON hub_imports (state, created_at);
CREATE INDEX hub_imports_organisation ON hub_imports (organisation, created_at);
CREATE TABLE hub_import_files (
    import TEXT NOT NULL REFERENCES hub_imports (id),
    path TEXT NOT NULL,
    size INTEGER NOT NULL,
    git_id TEXT NOT NULL,           -- of the blob there: of the content, or of its LFS pointer
    sha256 TEXT NOT NULL,           -- as the source says, for large files; empty for the others
    digest TEXT NOT NULL,           -- of the bytes that are here; empty: not yet
    received INTEGER NOT NULL,      -- bytes
    PRIMARY KEY (import, path)
);
CREATE TABLE hub_mirrors (          -- repositories whose large files come with their first reader
    repository TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    source TEXT NOT NULL,
    revision TEXT NOT NULL,
    pinned TEXT NOT NULL,
    excluded TEXT NOT NULL,
    import TEXT NOT NULL,           -- the last one; its token, if any, is the mirror's
    refreshed_at TEXT NOT NULL
);
CREATE TABLE hub_mirror_files (     -- large files of mirrors, of all pins
    repository TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    path TEXT NOT NULL,             -- where it lies at the source
    pinned TEXT NOT NULL,           -- in that commit there
    present INTEGER NOT NULL,       -- 1: its bytes are here
    PRIMARY KEY (repository, digest)
);
CREATE INDEX hub_mirror_files_digest ON hub_mirror_files (digest, present);
CREATE TABLE hub_foreign_statements ( -- what another house has signed about a revision that came with a bundle
    repository TEXT NOT NULL,
    id TEXT NOT NULL,               -- sha256 of the envelope
    predicate_type TEXT NOT NULL,
    envelope TEXT NOT NULL,
    keys TEXT NOT NULL,             -- JSON: keyid -> [holder, PEM] of its signers
    origin TEXT NOT NULL,           -- name of the other house's log
    at TEXT NOT NULL,
    PRIMARY KEY (repository, id)
);
