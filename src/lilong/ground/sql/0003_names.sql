CREATE INDEX ground_links_name ON ground_links (name, kind);
