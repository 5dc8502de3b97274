"""What other floors may import from the corpus floor: its errors (and, further down, its types)."""

from __future__ import annotations

from lilong.ground.errors import BadInput, Refused, Unavailable


class BadRecipe(BadInput):
    """The recipe's '{field}' cannot be used: {problem}. {way_out}"""


class MissingPackage(Unavailable):
    """The package '{package}' is not in this system's package lists. Check its name, take it out of `packages`, or give texts of your own."""


class PackagesUnreachable(Unavailable):
    """Debian packages cannot be fetched here: {problem}. Connect the network, or give a folder of texts of your own."""


class NoTexts(Refused):
    """The folder '{folder}' holds no file that can be read as text. Put .txt, .md, .rst, .html or man files in it."""


class NoLicence(Refused):
    """The source '{source}' has no licence evidence ({documents} documents). {way_out}"""


class UnknownLicence(BadInput):
    """The source '{source}' names the licence '{licence}', which is not an SPDX expression. Use one such as CC-BY-4.0, or
    LicenseRef-<name> for a licence of its own, in licences.toml."""


class EmptyCorpus(Refused):
    """Nothing is left of {documents} documents after filtering. Most were dropped for: {reasons}. Loosen these rules in the recipe."""


class NoSources(Refused):
    """The source set holds no archive to build from: {problem}. Fetch sources first."""
