CREATE TABLE chain_chains (
    organisation TEXT NOT NULL,
    name TEXT NOT NULL,
    title TEXT NOT NULL,
    source TEXT NOT NULL,           -- the chain file as it was given
    updated_at TEXT NOT NULL,
    PRIMARY KEY (organisation, name)
);
CREATE TABLE chain_steps (
    organisation TEXT NOT NULL,
    chain TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    uses TEXT NOT NULL,
    why TEXT NOT NULL,
    step_key TEXT,                  -- digest of its resolved inputs; NULL until they are known
    state TEXT NOT NULL,            -- waiting | running | done | failed
    started_at TEXT,
    finished_at TEXT,
    outputs TEXT,                   -- JSON
    error TEXT,
    PRIMARY KEY (organisation, chain, name),
    FOREIGN KEY (organisation, chain) REFERENCES chain_chains (organisation, name)
);
