-- What people say, ask and like. Everything here goes with its repository.
CREATE TABLE hub_discussions (      -- discussions and pull requests, numbered together within a repository
    repository TEXT NOT NULL REFERENCES hub_repositories (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    title TEXT NOT NULL,
    status TEXT NOT NULL,           -- draft | open | closed | merged
    pull_request INTEGER NOT NULL,
    author TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    comments INTEGER NOT NULL DEFAULT 0,
    base TEXT,                      -- of a pull request: the branch that it is meant for, refs/heads/…
    start TEXT,                     -- the commit on which it was opened
    merge_commit TEXT,              -- once merged: the new commit on the base,
    merged_from TEXT,               -- the common ancestor that the two were compared with,
    merged_head TEXT,               -- and the head of refs/pr/N then
    PRIMARY KEY (repository, number)
);
CREATE INDEX hub_discussions_author ON hub_discussions (author, created_at);
CREATE TABLE hub_discussion_events (
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL,
    number INTEGER NOT NULL,
    position INTEGER NOT NULL,      -- from 0 on
    kind TEXT NOT NULL,             -- comment | status-change | title-change
    author TEXT NOT NULL,
    at TEXT NOT NULL,
    old TEXT NOT NULL,              -- of a title change
    new TEXT NOT NULL,              -- a comment's Markdown, the status, or the title
    edited_at TEXT,                 -- of a comment
    edited_by TEXT,
    hidden_at TEXT,                 -- a hidden comment has lost its text and its earlier ones
    hidden_by TEXT,
    FOREIGN KEY (repository, number) REFERENCES hub_discussions (repository, number) ON DELETE CASCADE
);
CREATE UNIQUE INDEX hub_discussion_events_of ON hub_discussion_events (repository, number, position);
CREATE TABLE hub_comment_edits (    -- what an edited comment said before
    event TEXT NOT NULL REFERENCES hub_discussion_events (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    author TEXT NOT NULL,
    at TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (event, position)
);
CREATE TABLE hub_attachments (      -- pictures, films and sounds for comments: whoever knows the id may fetch one
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,           -- a blob of the house
    size INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    user_name TEXT NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX hub_attachments_digest ON hub_attachments (digest);
CREATE INDEX hub_attachments_user ON hub_attachments (user_name, at);
CREATE TABLE hub_access_requests (  -- who may have the files of a gated repository, and who has asked
    id TEXT PRIMARY KEY,
    repository TEXT NOT NULL REFERENCES hub_repositories (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    status TEXT NOT NULL,           -- pending | accepted | rejected
    granted INTEGER NOT NULL,       -- without having been asked for
    fields TEXT NOT NULL,           -- JSON: the form as it was filled in
    reason TEXT NOT NULL,           -- of a rejection
    asked_at TEXT NOT NULL,
    handled_by TEXT,
    handled_at TEXT
);
CREATE UNIQUE INDEX hub_access_requests_user ON hub_access_requests (repository, user_name);
CREATE INDEX hub_access_requests_status ON hub_access_requests (repository, status, asked_at);
CREATE TABLE hub_likes (
    repository TEXT NOT NULL REFERENCES hub_repositories (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    at TEXT NOT NULL,
    PRIMARY KEY (repository, user_name)
);
CREATE INDEX hub_likes_user ON hub_likes (user_name, at);
CREATE TABLE hub_collections (
    id TEXT PRIMARY KEY,            -- 24 hex digits
    owner TEXT NOT NULL,            -- an organisation, perhaps a user's own
    words TEXT NOT NULL,            -- the title's, as they stand in addresses: owner/words-id
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    private INTEGER NOT NULL,
    theme TEXT NOT NULL,
    position INTEGER NOT NULL,      -- among its owner's
    upvotes INTEGER NOT NULL DEFAULT 0,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE UNIQUE INDEX hub_collections_title ON hub_collections (owner, title);
CREATE INDEX hub_collections_updated ON hub_collections (updated_at);
CREATE INDEX hub_collections_upvotes ON hub_collections (upvotes);
CREATE TABLE hub_collection_items (
    id TEXT PRIMARY KEY,            -- 24 hex digits
    collection TEXT NOT NULL REFERENCES hub_collections (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,             -- model | dataset | bucket | collection | paper
    repository TEXT REFERENCES hub_repositories (id) ON DELETE CASCADE,
    name TEXT NOT NULL,             -- id of a collection or bucket, number of a paper; of a repository empty
    position INTEGER NOT NULL,
    note TEXT NOT NULL,
    added_by TEXT NOT NULL,
    added_at TEXT NOT NULL
);
CREATE INDEX hub_collection_items_of ON hub_collection_items (collection, position);
CREATE INDEX hub_collection_items_repository ON hub_collection_items (repository);
CREATE TABLE hub_collection_upvotes (
    collection TEXT NOT NULL REFERENCES hub_collections (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    PRIMARY KEY (collection, user_name)
);
