-- Examinations of a model revision, and the lines of their certificates.
CREATE TABLE compat_examinations (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    key TEXT NOT NULL,
    state TEXT NOT NULL,
    repository TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    manifest TEXT NOT NULL,
    model_files TEXT NOT NULL,
    corpus TEXT NOT NULL,
    corpus_manifest TEXT NOT NULL,
    recipe TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    job TEXT NOT NULL,
    finished_at TEXT,
    error TEXT,
    certificate TEXT,
    suite TEXT,
    cases TEXT,
    statement TEXT,
    UNIQUE (organisation, key)
);

CREATE INDEX compat_examinations_job ON compat_examinations (job);

CREATE INDEX compat_examinations_manifest ON compat_examinations (manifest, finished_at);

CREATE INDEX compat_examinations_certificate ON compat_examinations (certificate);

CREATE TABLE compat_rows (
    examination TEXT NOT NULL REFERENCES compat_examinations (id),
    position INTEGER NOT NULL,
    stack TEXT NOT NULL,
    verdict TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (examination, position)
);
