"""The corpus floor's engine: files in, a documented and deduplicated corpus out.

`pipeline.curate(sources, open_files, recipe, progress) -> Corpus` is the whole of it. Below lie, each usable alone: `extract`
(files to text), `columns` and `kernels` (Arrow buffers to numbers), `signals`, `language`, `policy`, `duplicates`, `split`,
`licences`, and `sheet` (datasheet and Croissant of the result). Nothing here reads a clock, starts a program or opens a network.
"""
