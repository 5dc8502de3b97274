-- Imports of base models, each one revision of a model repository.
CREATE TABLE training_bases (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked TEXT NOT NULL,                -- JSON of contract.BaseAsk
    state TEXT NOT NULL,                -- contract.State
    repository TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    fetch_job TEXT NOT NULL UNIQUE,
    import_job TEXT UNIQUE,
    fetched TEXT,                       -- JSON: the fetch job's result
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    commit_id TEXT,
    manifest TEXT,
    statement TEXT,
    figures TEXT,                       -- JSON
    error TEXT
);
CREATE UNIQUE INDEX training_bases_by_key ON training_bases (organisation, request_key);

-- Trainings, each one revision of a model repository.
CREATE TABLE training_runs (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked TEXT NOT NULL,                -- JSON of contract.RunAsk
    state TEXT NOT NULL,
    base TEXT NOT NULL,                 -- organisation/name@commit
    base_manifest TEXT NOT NULL,
    corpus TEXT NOT NULL,
    corpus_manifest TEXT NOT NULL,
    repository TEXT NOT NULL,
    recipe TEXT NOT NULL,               -- JSON, complete
    attempt INTEGER NOT NULL,
    job TEXT NOT NULL UNIQUE,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    commit_id TEXT,
    manifest TEXT,
    statement TEXT,
    figures TEXT,                       -- JSON
    losses TEXT,                        -- digest of loss.jsonl
    error TEXT
);
CREATE UNIQUE INDEX training_runs_by_key ON training_runs (organisation, request_key);
CREATE INDEX training_runs_by_repository ON training_runs (repository, commit_id);
