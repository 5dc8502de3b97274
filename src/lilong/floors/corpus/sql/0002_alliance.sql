-- Who gives a source set, to whom it is open, and under which conditions.
ALTER TABLE corpus_source_sets ADD COLUMN contributor TEXT NOT NULL DEFAULT '';
ALTER TABLE corpus_source_sets ADD COLUMN terms TEXT NOT NULL DEFAULT 'private';
UPDATE corpus_source_sets SET contributor = organisation WHERE contributor = '';

-- `sources` becomes a JSON list of ids of source sets.
ALTER TABLE corpus_versions ADD COLUMN terms TEXT NOT NULL DEFAULT 'private';
ALTER TABLE corpus_versions ADD COLUMN conditions TEXT;      -- JSON of contract.Use
ALTER TABLE corpus_versions ADD COLUMN contributors TEXT;    -- JSON
ALTER TABLE corpus_versions ADD COLUMN left_out TEXT;        -- JSON of contract.Without
ALTER TABLE corpus_versions ADD COLUMN review TEXT;          -- digest
ALTER TABLE corpus_versions ADD COLUMN takedown TEXT;        -- the id of the one that put it out of use
ALTER TABLE corpus_versions ADD COLUMN successor TEXT;       -- the id of the version that is then built in its place
UPDATE corpus_versions SET sources = '["' || sources || '"]';

CREATE INDEX corpus_versions_by_takedown ON corpus_versions (takedown);
CREATE INDEX corpus_versions_by_successor ON corpus_versions (successor);

-- Which source sets a version was made of.
CREATE TABLE corpus_version_sets (
    version TEXT NOT NULL,
    source_set TEXT NOT NULL,
    PRIMARY KEY (version, source_set)
);
CREATE INDEX corpus_version_sets_by_set ON corpus_version_sets (source_set);
INSERT INTO corpus_version_sets (version, source_set) SELECT id, substr(sources, 3, length(sources) - 4) FROM corpus_versions;

-- The files of a version that hold its texts: by them a job's input is known, wherever it was copied to.
CREATE TABLE corpus_version_files (
    version TEXT NOT NULL,
    digest TEXT NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (version, path)
);
CREATE INDEX corpus_version_files_by_digest ON corpus_version_files (digest);

-- Jobs that were allowed to read a version.
CREATE TABLE corpus_uses (
    version TEXT NOT NULL,
    job TEXT NOT NULL,
    organisation TEXT NOT NULL,
    purpose TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (version, job)
);

CREATE TABLE corpus_members (
    organisation TEXT PRIMARY KEY,
    state TEXT NOT NULL,                -- contract.Membership
    asked_by TEXT NOT NULL,
    asked_at TEXT NOT NULL,
    admitted_by TEXT,
    admitted_at TEXT,
    left_at TEXT
);

CREATE TABLE corpus_takedowns (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked TEXT NOT NULL,                -- JSON of contract.TakedownAsk
    state TEXT NOT NULL,
    version TEXT NOT NULL,
    repository TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    statement TEXT NOT NULL,
    reached TEXT NOT NULL,              -- JSON: id of a version that held it -> how many documents
    finished_at TEXT,
    error TEXT
);
CREATE UNIQUE INDEX corpus_takedowns_by_key ON corpus_takedowns (organisation, request_key);

-- What stays out of every version that an organisation builds, or that is built from its source sets.
CREATE TABLE corpus_exclusions (
    organisation TEXT NOT NULL,
    kind TEXT NOT NULL,                 -- document, source or contributor
    value TEXT NOT NULL,
    takedown TEXT NOT NULL,
    PRIMARY KEY (organisation, kind, value)
);

-- What people ask whose data may stand in a corpus. Of the person only `subject` and `note` speak, until they are forgotten.
CREATE TABLE corpus_rights_requests (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    request_key TEXT NOT NULL,
    asked_digest TEXT NOT NULL,         -- of what was asked, with the salt
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    subject TEXT,
    note TEXT,
    salt TEXT,
    received_at TEXT NOT NULL,
    due_at TEXT NOT NULL,
    logged_by TEXT NOT NULL,
    answer TEXT,
    answered_by TEXT,
    answered_at TEXT,
    takedown TEXT
);
CREATE UNIQUE INDEX corpus_rights_requests_by_key ON corpus_rights_requests (organisation, request_key);

-- By which a version answers whether a text is in it.
CREATE TABLE corpus_indexes (
    version TEXT PRIMARY KEY,
    job TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    files TEXT,                         -- JSON: name -> digest
    error TEXT
);
