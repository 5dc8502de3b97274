ALTER TABLE compute_jobs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;          -- 1: somebody holds it; 2: it has no slot of its array yet
ALTER TABLE compute_jobs ADD COLUMN array_id TEXT;
ALTER TABLE compute_jobs ADD COLUMN array_index INTEGER;
ALTER TABLE compute_jobs ADD COLUMN needs_left INTEGER NOT NULL DEFAULT 0;    -- jobs that must end before it may start
ALTER TABLE compute_jobs ADD COLUMN reason TEXT;                              -- contract.ReasonCode
ALTER TABLE compute_jobs ADD COLUMN promised_at TEXT;                         -- start that the last decision reserved
ALTER TABLE compute_jobs ADD COLUMN site TEXT;                                -- of the last attempt
ALTER TABLE compute_jobs ADD COLUMN preempted INTEGER NOT NULL DEFAULT 0;     -- the attempt's end was asked for, to make room
ALTER TABLE compute_jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;          -- within tenant and priority: its deadline in seconds, or later than any

ALTER TABLE compute_jobs ADD COLUMN done INTEGER NOT NULL DEFAULT 0;          -- seconds of its work that earlier attempts have kept

ALTER TABLE compute_jobs ADD COLUMN published TEXT;                           -- the revision that its outputs became
ALTER TABLE compute_jobs ADD COLUMN unpublished TEXT;                         -- why they became none
ALTER TABLE compute_jobs ADD COLUMN cost INTEGER NOT NULL DEFAULT 0;          -- millionths of money: at worst, and what it cost once it has ended

-- What decisions look at, per tenant, in its order: a prefix of this index, however many wait behind.
CREATE INDEX compute_jobs_waiting ON compute_jobs (organisation, project, priority DESC, rank, place)
    WHERE state = 'queued' AND held = 0 AND needs_left = 0;
CREATE INDEX compute_jobs_by_array ON compute_jobs (array_id, array_index) WHERE array_id IS NOT NULL;

-- Few of many, each found without looking at the rest.
CREATE INDEX compute_jobs_paused ON compute_jobs (not_before) WHERE not_before IS NOT NULL;
CREATE INDEX compute_jobs_to_stop ON compute_jobs (place) WHERE finished_at IS NULL AND (cancel_requested = 1 OR preempted = 1);
CREATE INDEX compute_jobs_untidied ON compute_jobs (place) WHERE finished_at IS NOT NULL AND tidied = 0;
CREATE INDEX compute_jobs_ended_by_user ON compute_jobs (submitted_by, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX compute_jobs_promised ON compute_jobs (promised_at) WHERE promised_at IS NOT NULL;

-- Tenants with something in the queue, so that finding them costs nothing per job.
CREATE TABLE compute_queues (
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    waiting INTEGER NOT NULL,
    changes INTEGER NOT NULL DEFAULT 0, -- how often something entered, left or changed in it
    PRIMARY KEY (organisation, project)
);
INSERT INTO compute_queues (organisation, project, waiting)
    SELECT organisation, project, COUNT(*) FROM compute_jobs WHERE state = 'queued' GROUP BY organisation, project;

CREATE TABLE compute_arrays (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL,
    at_once INTEGER NOT NULL,           -- how many of it may be under way at once; 0: any number
    running INTEGER NOT NULL            -- how many of it have a slot: those that run or may start
);

-- How many jobs have ended, and how, so that telling it costs nothing per job.
CREATE TABLE compute_ended (
    state TEXT PRIMARY KEY,
    number INTEGER NOT NULL
);
INSERT INTO compute_ended (state, number) SELECT state, COUNT(*) FROM compute_jobs WHERE finished_at IS NOT NULL GROUP BY state;

CREATE TABLE compute_needs (
    job TEXT NOT NULL REFERENCES compute_jobs (id),
    needs TEXT NOT NULL REFERENCES compute_jobs (id),
    success INTEGER NOT NULL,           -- whether it must have succeeded, or only ended
    PRIMARY KEY (job, needs)
);
CREATE INDEX compute_needs_by_need ON compute_needs (needs);

ALTER TABLE compute_attempts ADD COLUMN layout TEXT;        -- JSON of the contract.Layout chosen, with the tasks that it got
ALTER TABLE compute_attempts ADD COLUMN snap TEXT;          -- JSON of scheduler.snapshot.SnapJob: what decisions see while it runs
ALTER TABLE compute_attempts ADD COLUMN placed TEXT;        -- JSON: [[node, [device, …], milli], …]
ALTER TABLE compute_attempts ADD COLUMN accelerator TEXT;
ALTER TABLE compute_attempts ADD COLUMN milli INTEGER NOT NULL DEFAULT 0;     -- thousandths of device that it holds in all
ALTER TABLE compute_attempts ADD COLUMN cpus INTEGER NOT NULL DEFAULT 0;      -- cores in all
ALTER TABLE compute_attempts ADD COLUMN usage TEXT;         -- JSON of contract.Usage
ALTER TABLE compute_attempts ADD COLUMN decision INTEGER;   -- that started it
CREATE INDEX compute_attempts_by_end ON compute_attempts (site, ended_at);
CREATE INDEX compute_attempts_open ON compute_attempts (site) WHERE ended_at IS NULL;

-- The declared side: accelerator classes, sites, tenants, policy, maintenance. A version is never changed.
CREATE TABLE compute_settings (
    version INTEGER PRIMARY KEY,
    document TEXT NOT NULL,             -- JSON
    applied_by TEXT NOT NULL,
    applied_at TEXT NOT NULL
);

-- Every decision with what it saw: the whole snapshot now and then, else what had changed since the decision before.
CREATE TABLE compute_decisions (
    number INTEGER PRIMARY KEY,
    at TEXT NOT NULL,
    policy TEXT NOT NULL,               -- name and version of what decided
    digest TEXT NOT NULL,               -- of the snapshot
    whole INTEGER NOT NULL,             -- whether `seen` is the whole snapshot
    seen BLOB NOT NULL,                 -- zlib of JSON: {entry: value or null}
    plan TEXT NOT NULL                  -- JSON
);
CREATE INDEX compute_decisions_whole ON compute_decisions (whole, number);

-- What was said of a job's start; what became of it, the job tells.
CREATE TABLE compute_estimates (
    job TEXT NOT NULL REFERENCES compute_jobs (id),
    made_at TEXT NOT NULL,
    p50 TEXT NOT NULL,
    p90 TEXT NOT NULL,
    PRIMARY KEY (job, made_at)
);
CREATE INDEX compute_estimates_by_time ON compute_estimates (made_at); -- the last ones are judged

-- How fast a family of programs, or kind of job, runs on a class of device: units of its work for each device (or core) and second.
CREATE TABLE compute_throughput (
    family TEXT NOT NULL,
    accelerator TEXT NOT NULL,
    rate REAL NOT NULL,
    source TEXT NOT NULL,               -- the event that told
    at TEXT NOT NULL,
    PRIMARY KEY (family, accelerator)
);

CREATE TABLE compute_sites (
    name TEXT PRIMARY KEY,
    cursor TEXT NOT NULL,               -- of its watch
    inventory TEXT NOT NULL,            -- JSON of the last one seen
    seen_at TEXT,
    problem TEXT,                       -- why it does not answer; NULL while it does
    drained TEXT NOT NULL DEFAULT '[]'  -- JSON: nodes that it was told, or is about to be told, to keep free
);

-- Money asked for by month of submission: the worst case of what has not ended, the cost of what has. Millionths.
CREATE TABLE compute_spending (
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    month TEXT NOT NULL,                -- 2026-11
    amount INTEGER NOT NULL,
    PRIMARY KEY (organisation, project, month)
);

CREATE TABLE compute_drains (
    site TEXT NOT NULL,
    node TEXT NOT NULL,
    by TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (site, node)
);

CREATE TABLE compute_secrets (
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,               -- AES-GCM under the house's key for secrets
    by TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (organisation, name)
);

-- What a tenant has used, halved each half-life: thousandths of device times seconds, as of `at`.
CREATE TABLE compute_usage (
    organisation TEXT NOT NULL,
    project TEXT NOT NULL,
    accelerator TEXT NOT NULL,          -- '' for cores
    amount INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (organisation, project, accelerator)
);
