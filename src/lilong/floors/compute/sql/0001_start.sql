CREATE TABLE compute_jobs (
    id TEXT PRIMARY KEY,
    place INTEGER NOT NULL UNIQUE,      -- in the queue: the order of submission
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    kind TEXT NOT NULL,
    request_key TEXT NOT NULL,          -- '' where the asker gave none
    digest TEXT NOT NULL,               -- of what was asked for: the same key with another digest is a conflict
    ask TEXT NOT NULL,                  -- JSON of contract.JobAsk
    priority INTEGER NOT NULL,
    cpus INTEGER NOT NULL,
    memory_mib INTEGER NOT NULL,
    service INTEGER NOT NULL,
    state TEXT NOT NULL,                -- contract.JobState
    attempt INTEGER NOT NULL,           -- the last one; 0 before the first
    stops INTEGER NOT NULL,             -- attempts that the house itself ended, which do not count against the job
    cancel_requested INTEGER NOT NULL,
    not_before TEXT,                    -- a failed attempt is followed by a pause
    waits_for TEXT,
    submitted_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    started_at TEXT,
    finished_at TEXT,
    exit TEXT,                          -- JSON of contract.Exit
    sandbox TEXT,
    address TEXT,
    tidied INTEGER NOT NULL             -- whether the site's folders of a finished job were cleared
);
CREATE UNIQUE INDEX compute_jobs_by_key ON compute_jobs (organisation, request_key) WHERE request_key <> '';
CREATE INDEX compute_jobs_by_state ON compute_jobs (state, priority, place);
CREATE INDEX compute_jobs_by_organisation ON compute_jobs (organisation, place);

-- The outbox: an attempt's row is committed before the site is asked to start it.
CREATE TABLE compute_attempts (
    job TEXT NOT NULL REFERENCES compute_jobs (id),
    attempt INTEGER NOT NULL,
    site TEXT NOT NULL,
    token TEXT NOT NULL UNIQUE,
    intended_at TEXT NOT NULL,
    started_at TEXT,
    ended_at TEXT,
    ending TEXT,                        -- contract.Ending, or 'lost'
    exit TEXT,
    sandbox TEXT,
    PRIMARY KEY (job, attempt)
);

CREATE TABLE compute_outputs (
    job TEXT NOT NULL REFERENCES compute_jobs (id),
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (job, path)
);
CREATE INDEX compute_outputs_by_digest ON compute_outputs (digest);
