-- Programs that users let act for them. Codes and secrets are kept as SHA-256 only.
CREATE TABLE hub_oauth_clients (
    id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    secret_hash TEXT,               -- NULL: a program that can keep no secret (PKCE instead)
    redirects TEXT NOT NULL,        -- addresses, one a line
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE TABLE hub_oauth_devices (    -- sign-ins begun on a device without a browser
    code_hash TEXT PRIMARY KEY,
    user_code_hash TEXT NOT NULL UNIQUE,
    client TEXT NOT NULL,
    words TEXT NOT NULL,            -- OAuth scopes asked for
    state TEXT NOT NULL,            -- waiting | approved | denied | spent
    user_name TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
);
CREATE INDEX hub_oauth_devices_expires ON hub_oauth_devices (expires_at);
CREATE TABLE hub_oauth_codes (      -- what a browser carries back to a program
    code_hash TEXT PRIMARY KEY,
    client TEXT NOT NULL,
    redirect TEXT NOT NULL,
    challenge TEXT NOT NULL,        -- PKCE S256; empty: none
    nonce TEXT NOT NULL,
    words TEXT NOT NULL,
    user_name TEXT NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    family TEXT                     -- of the tokens that it was turned into
);
CREATE TABLE hub_oauth_refreshes (
    hash TEXT PRIMARY KEY,
    family TEXT NOT NULL,           -- all that came from one consent
    client TEXT NOT NULL,
    words TEXT NOT NULL,
    user_name TEXT NOT NULL,
    token TEXT NOT NULL,            -- the access token that was given with it
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT,
    revoked_at TEXT
);
CREATE INDEX hub_oauth_refreshes_family ON hub_oauth_refreshes (family);
CREATE INDEX hub_oauth_refreshes_token ON hub_oauth_refreshes (token);
CREATE TABLE hub_publishers (       -- jobs elsewhere whose identity tokens stand for a user on one repository
    id TEXT PRIMARY KEY,
    resource TEXT NOT NULL,         -- namespace/name, datasets/namespace/name or a user
    issuer TEXT NOT NULL,
    claims TEXT NOT NULL,           -- JSON: claim -> the text that it must have
    user_name TEXT NOT NULL,
    created_at TEXT NOT NULL
);
CREATE INDEX hub_publishers_resource ON hub_publishers (resource);
CREATE TABLE hub_webhooks (
    id TEXT PRIMARY KEY,
    user_name TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,           -- sent along and signed with; empty: none
    domains TEXT NOT NULL,          -- JSON: of repo, discussion
    disabled INTEGER NOT NULL DEFAULT 0,
    created_at TEXT NOT NULL
);
CREATE INDEX hub_webhooks_user ON hub_webhooks (user_name);
CREATE TABLE hub_webhook_watches (
    webhook TEXT NOT NULL REFERENCES hub_webhooks (id),
    position INTEGER NOT NULL,
    type TEXT NOT NULL,             -- user | org | model | dataset
    name TEXT NOT NULL,
    PRIMARY KEY (webhook, type, name)
);
CREATE INDEX hub_webhook_watches_name ON hub_webhook_watches (name, type);
CREATE TABLE hub_deliveries (       -- the queue and the log of what webhooks are sent
    id TEXT PRIMARY KEY,
    webhook TEXT NOT NULL REFERENCES hub_webhooks (id),
    seq INTEGER NOT NULL,           -- the event; one delivery of it for each webhook
    event TEXT NOT NULL,            -- action and scope, such as update repo.content
    subject TEXT NOT NULL,          -- the repository
    organisation TEXT NOT NULL,     -- where one must be able to read: looked at again before it is sent
    hidden INTEGER NOT NULL,        -- 1: only for those who may read there
    body TEXT NOT NULL,
    state TEXT NOT NULL,            -- waiting | delivered | failed | dropped
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at TEXT NOT NULL,          -- of the next try
    status INTEGER,                 -- of the last answer
    answer TEXT NOT NULL DEFAULT '',-- the start of the last answer, or why there was none
    took_ms INTEGER,
    created_at TEXT NOT NULL,
    finished_at TEXT,
    UNIQUE (webhook, seq)
);
CREATE INDEX hub_deliveries_due ON hub_deliveries (state, next_at);
