CREATE TABLE governance_registrations (
    id TEXT PRIMARY KEY,
    request_key TEXT NOT NULL,
    state TEXT NOT NULL,                -- in_review | registered | rejected | suspended | revoked
    organisation TEXT NOT NULL,
    repository TEXT NOT NULL,
    revision TEXT NOT NULL,             -- git commit id
    manifest TEXT NOT NULL,             -- the model's artifact digest
    profile TEXT NOT NULL,
    profile_version INTEGER NOT NULL,
    stack TEXT NOT NULL,
    requested_by TEXT NOT NULL,
    requested_at TEXT NOT NULL,
    decision TEXT NOT NULL,             -- JSON
    number TEXT UNIQUE,
    artifact TEXT UNIQUE,               -- digest of the registration document
    statement TEXT,
    reviewed_by TEXT,
    reviewed_at TEXT,
    comment TEXT,
    review TEXT,                        -- the review statement
    reason TEXT,
    changed_at TEXT,
    UNIQUE (organisation, request_key)
);
CREATE INDEX governance_registrations_model ON governance_registrations (manifest, stack);
