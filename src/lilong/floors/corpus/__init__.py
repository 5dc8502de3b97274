"""Corpora: raw texts in, documented, deduplicated, licence-clean dataset versions out."""

from lilong.ground.floor import Floor

floor = Floor(
    name="corpus",
    start="lilong.floors.corpus.service:start",
    api="lilong.floors.corpus.api:routes",
    pages="lilong.floors.corpus.pages:routes",
    rooms="lilong.floors.corpus.pages:rooms",
    commands=(
        ("dataset", "lilong.floors.corpus.commands:dataset", "Corpus versions: sources, licences, what was dropped and why."),
        ("corpus", "lilong.floors.corpus.commands:corpus", "Curation: texts in, kept documents out, every decision explained."),
    ),
)
