-- compute_jobs.held, 4: the end of a queued job was asked for. Found without looking at the rest.
CREATE INDEX compute_jobs_to_end ON compute_jobs (place) WHERE held >= 4;
