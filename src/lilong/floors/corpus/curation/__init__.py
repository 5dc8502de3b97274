"""The corpus floor's engine: files in, a documented and deduplicated corpus out.

`runs.engine.curate` carries out a run: `reading` and `extract` make documents of files, a profile (`fineweb`, `documentation`, `chinese`,
`code`, over `words`, `characters`, `layout`, `repetition`) measures them, `policies` decide, `dedup` finds what is there twice, `personal`
and `contamination` what should not be there. `versions` makes a published version of a run, by a `recipe`, with `licences`, a `split` and
a datasheet (`sheet`). Nothing that decides here reads a clock or opens a network.
"""
