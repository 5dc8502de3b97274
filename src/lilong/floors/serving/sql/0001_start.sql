CREATE TABLE serving_deployments (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    repository TEXT NOT NULL,
    commit_id TEXT NOT NULL,
    manifest TEXT NOT NULL,
    stack TEXT NOT NULL,
    file TEXT NOT NULL,
    plan TEXT NOT NULL,
    shared INTEGER NOT NULL,
    state TEXT NOT NULL,
    job TEXT,
    attempt INTEGER NOT NULL,
    artifact TEXT,
    statement TEXT,
    certificate TEXT,
    registration TEXT,
    registration_number TEXT,
    error TEXT,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    ready_at TEXT,
    ended_at TEXT,
    UNIQUE (organisation, key)
);
CREATE UNIQUE INDEX serving_names ON serving_deployments (name) WHERE state IN ('requested', 'ready', 'stopping');
CREATE INDEX serving_jobs ON serving_deployments (job);
CREATE TABLE serving_seals (
    segment TEXT NOT NULL,
    records INTEGER NOT NULL,
    size INTEGER NOT NULL,
    root TEXT NOT NULL,
    statement TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (segment, records)
);
CREATE TABLE serving_usage (
    organisation TEXT NOT NULL,
    day TEXT NOT NULL,
    deployment TEXT NOT NULL,
    model TEXT NOT NULL,
    policy TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    billed_prompt INTEGER NOT NULL,
    billed_completion INTEGER NOT NULL,
    PRIMARY KEY (organisation, day, deployment, policy)
)
