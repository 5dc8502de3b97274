-- What was found in files, once for each content. `rules` is the version of the rules by which it was found: an older row is found anew.
CREATE TABLE hub_scans (
    digest TEXT NOT NULL,
    named TEXT NOT NULL,            -- 'pickle': its name promises one, so that it is read as one | ''
    status TEXT NOT NULL,           -- safe | caution | unsafe
    found TEXT NOT NULL,            -- JSON: pickle, secrets (rule and line, never the secret), weights
    rules INTEGER NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (digest, named)
);
CREATE TABLE hub_folder_scans (     -- what is not safe in a folder and all below it
    tree TEXT PRIMARY KEY,          -- git's id of the folder
    issues TEXT NOT NULL,           -- JSON: [[path below the folder, status], …]
    rules INTEGER NOT NULL
);
CREATE TABLE hub_facts (            -- what the files of a revision say together
    tree TEXT NOT NULL,             -- git's id of its root
    kind TEXT NOT NULL,             -- model | dataset
    facts TEXT NOT NULL,            -- JSON
    rules INTEGER NOT NULL,
    PRIMARY KEY (tree, kind)
);
CREATE TABLE hub_scanned (          -- which revisions of a repository were scanned: that another one has the same content is not told before
    repository TEXT NOT NULL REFERENCES hub_repositories (id),
    commit_id TEXT NOT NULL,
    PRIMARY KEY (repository, commit_id)
);
