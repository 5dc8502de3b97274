CREATE TABLE ground_events (
    seq INTEGER PRIMARY KEY,            -- the entry's index in the log: 0, 1, 2 … without gaps
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT,                          -- canonical JSON (RFC 8785); NULL once erased
    salt TEXT,                          -- erased with the body, so that the body cannot be guessed from its hash
    body_sha256 TEXT NOT NULL           -- hex, of salt and body
);
CREATE INDEX ground_events_kind ON ground_events (kind, seq);
CREATE INDEX ground_events_subject ON ground_events (subject, seq);
CREATE TABLE ground_cursors (
    name TEXT PRIMARY KEY,
    next INTEGER NOT NULL               -- the first entry that this subscriber has not seen
);
CREATE TABLE ground_log_nodes (
    level INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (level, idx)
);
CREATE TABLE ground_checkpoints (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note TEXT NOT NULL,                 -- the signed note as published
    at TEXT NOT NULL
);
CREATE TABLE ground_keys (
    keyid TEXT PRIMARY KEY,             -- hex SHA-256 of the public key in DER
    holder TEXT NOT NULL,
    algorithm TEXT NOT NULL,            -- ed25519 | ecdsa-p256
    public TEXT NOT NULL,               -- PEM
    seq INTEGER NOT NULL                -- the event key.registered
);
CREATE TABLE ground_statements (
    id TEXT PRIMARY KEY,                -- sha256 of the envelope's bytes
    predicate_type TEXT NOT NULL,
    envelope TEXT NOT NULL,             -- DSSE, canonical JSON
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    seq INTEGER NOT NULL,               -- the event statement.issued
    revoked_by TEXT                     -- the statement that revokes this one
);
CREATE INDEX ground_statements_type ON ground_statements (predicate_type, seq);
CREATE TABLE ground_links (
    statement TEXT NOT NULL REFERENCES ground_statements (id),
    role TEXT NOT NULL,                 -- subject | material
    position INTEGER NOT NULL,
    digest TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (statement, role, position)
);
CREATE INDEX ground_links_digest ON ground_links (digest, role, statement);
