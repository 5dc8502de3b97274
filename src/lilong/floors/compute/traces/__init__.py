"""Reading other clusters' traces into nodes and jobs. A line that cannot be read is counted and named, never skipped in silence."""
