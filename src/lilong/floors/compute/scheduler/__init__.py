"""The scheduler: one pure core for what starts where, and a simulator that runs it over a virtual clock.

`state` and `jobs` hold the arrays; `score` and `place` say where a task goes; `order` and `backfill` who is next; `cycle` looks at one
pool; `decide` does so without changing what it is given; `simulation` does it from the first event of a trace to the last. The names of
policies and what they are made of stand in `policies/`. No module here reads a file or a clock.
"""
