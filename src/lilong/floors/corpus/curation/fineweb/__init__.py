"""The profile `fineweb@datatrove-0.10`: what FineWeb's recipe measures of an English text, and its rules over these signals.

Signals follow GopherRepetition, GopherQuality (Rae et al. 2021, appendix A1), C4 quality (Raffel et al. 2020, section 2.2) and FineWeb
quality (Penedo et al. 2024) as datatrove 0.10.1 computes them; FineWeb's own are of the text that C4's rules leave.
"""
