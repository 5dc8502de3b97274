-- Plain blobs that came to the house by the hub and by nothing else: once they are in xorbs, or nobody refers to them any more, they may go.
CREATE TABLE hub_plain (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    at TEXT NOT NULL                -- when they came; who has put the same bytes later keeps them
);
-- What nothing refers to, and since when that is known: it goes after the days of grace, if nothing refers to it then.
CREATE TABLE hub_garbage (
    kind TEXT NOT NULL,             -- commit | content | tree | inline | file | plain | xorb; run: when it was last looked for
    id TEXT NOT NULL,               -- commit: repository and id; content: repository and digest; else its own name
    since TEXT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX hub_xorb_uploads_user ON hub_xorb_uploads (user_name);
