-- Sets of archives with their licence evidence.
CREATE TABLE corpus_source_sets (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked TEXT NOT NULL,                -- JSON of contract.SourcesAsk
    state TEXT NOT NULL,                -- contract.State
    attempt INTEGER NOT NULL,
    job TEXT NOT NULL UNIQUE,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    kind TEXT,
    note TEXT,
    sources TEXT,                       -- JSON
    tree TEXT,                          -- JSON: path -> digest, the input of a build
    error TEXT
);
CREATE UNIQUE INDEX corpus_source_sets_by_key ON corpus_source_sets (organisation, request_key);

-- Corpus versions, each one revision of a dataset repository.
CREATE TABLE corpus_versions (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked TEXT NOT NULL,                -- JSON of contract.BuildAsk
    state TEXT NOT NULL,
    sources TEXT NOT NULL,
    repository TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    job TEXT NOT NULL UNIQUE,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    commit_id TEXT,
    manifest TEXT,
    statement TEXT,
    figures TEXT,                       -- JSON
    result TEXT,                        -- digest of the job's whole result
    error TEXT
);
CREATE UNIQUE INDEX corpus_versions_by_key ON corpus_versions (organisation, request_key);
CREATE INDEX corpus_versions_by_repository ON corpus_versions (repository, commit_id);

-- Texts that an organisation has uploaded: a digest alone is no right to read what it names.
CREATE TABLE corpus_texts (
    organisation TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    kept_by TEXT NOT NULL,
    kept_at TEXT NOT NULL,
    PRIMARY KEY (organisation, digest)
);
