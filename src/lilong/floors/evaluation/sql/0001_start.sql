CREATE TABLE evaluation_protocols (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    base TEXT NOT NULL,
    base_manifest TEXT NOT NULL,
    new TEXT NOT NULL,
    corpus TEXT NOT NULL,
    corpus_manifest TEXT NOT NULL,
    recipe TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    stage TEXT NOT NULL,
    job TEXT NOT NULL,
    tasks TEXT NOT NULL,
    finished_at TEXT,
    error TEXT,
    title TEXT,
    digest TEXT,
    statement TEXT,
    figures TEXT NOT NULL,
    UNIQUE (organisation, key)
);
CREATE INDEX evaluation_protocols_job ON evaluation_protocols (job);
CREATE TABLE evaluation_runs (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    protocol TEXT NOT NULL,
    protocol_digest TEXT NOT NULL,
    base TEXT NOT NULL,
    base_manifest TEXT NOT NULL,
    new TEXT NOT NULL,
    new_manifest TEXT NOT NULL,
    corpus TEXT NOT NULL,
    corpus_manifest TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    job TEXT NOT NULL,
    finished_at TEXT,
    error TEXT,
    report TEXT,
    markdown TEXT,
    items TEXT,
    statement TEXT,
    answer TEXT,
    figures TEXT NOT NULL,
    UNIQUE (organisation, key)
);
CREATE INDEX evaluation_runs_job ON evaluation_runs (job);
CREATE INDEX evaluation_runs_model ON evaluation_runs (new_manifest);
CREATE TABLE evaluation_tasks (
    requirement TEXT PRIMARY KEY,
    files TEXT NOT NULL,
    created_at TEXT NOT NULL
)
