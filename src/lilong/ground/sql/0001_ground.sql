CREATE TABLE ground_organisations (
    name TEXT PRIMARY KEY,          -- the slug in URLs
    title TEXT NOT NULL,
    controlled_by TEXT,             -- another organisation; its people may not review this one's requests
    created_at TEXT NOT NULL
);
CREATE TABLE ground_users (
    name TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    password_hash TEXT,             -- argon2id; NULL: signs in by link only
    disabled_at TEXT,
    created_at TEXT NOT NULL
);
CREATE TABLE ground_projects (
    organisation TEXT NOT NULL REFERENCES ground_organisations (name),
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (organisation, name)
);
CREATE TABLE ground_grants (
    user_name TEXT NOT NULL REFERENCES ground_users (name),
    role TEXT NOT NULL,
    scope TEXT NOT NULL,            -- 'house' or the name of an organisation prefixed with '@'
    granted_by TEXT NOT NULL,
    expires_at TEXT,
    created_at TEXT NOT NULL,
    PRIMARY KEY (user_name, role, scope)
);
CREATE TABLE ground_tokens (
    id TEXT PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,   -- sha256 of a 256-bit random secret
    user_name TEXT NOT NULL REFERENCES ground_users (name),
    title TEXT NOT NULL,
    scopes TEXT NOT NULL,               -- space-separated permission patterns, '*' for all that the user may do
    kind TEXT NOT NULL,                 -- api | session | link
    expires_at TEXT,
    revoked_at TEXT,
    created_at TEXT NOT NULL
);
CREATE INDEX ground_tokens_user ON ground_tokens (user_name);
CREATE TABLE ground_chores (
    name TEXT PRIMARY KEY,
    token INTEGER NOT NULL,         -- fencing: grows with every lease
    holder TEXT NOT NULL,
    leased_until TEXT NOT NULL,
    last_finished TEXT,
    last_error TEXT
);
CREATE TABLE ground_parked (
    subscription TEXT NOT NULL,
    seq INTEGER NOT NULL,
    error TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (subscription, seq)
);
