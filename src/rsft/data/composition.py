"""Names that Unicode composes in several ways: "é" is one sign, or an "e" and an accent (as macOS stores it).

Ids are in the composed form (NFC), so that names in tables and those of files find each other.
"""

import unicodedata
from pathlib import Path

import pyarrow.compute as pc

from rsft.data.columns import Strings


def composed(name: str) -> str:
    r"""Return a name in the composed form.

    >>> composed("Zoe\u0308") == "Zo\u00eb"
    True
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def spellings(name: str) -> set[str]:
    """Return a name as it is, in the composed form, and with letters and accents apart."""
    return {name, composed(name), unicodedata.normalize("NFD", name)}


def alike(name: str) -> str:
    r"""Return what names of one person in two sets probably share: letters without case, blanks and signs between them.

    >>> alike("Ann_Lee") == alike("ann lee") == alike(" ANN-LEE") != alike("Ann_Leo")
    True
    """
    plain = name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()
    return "_".join(plain.replace("-", " ").replace("_", " ").split()) or name


def composed_names(names: Strings) -> Strings:
    """Return names in the composed form; the same object if they are already."""
    if pc.all(pc.string_is_ascii(names.array), min_count=0).as_py():
        return names
    told = pc.utf8_normalize(names.array, "NFC")
    return names if told.equals(names.array) else Strings(told)


class FilesOfAnyComposition:
    """Files below a folder, found by a path whatever the composition of its letters.

    Attributes:
        root: The folder.
    """

    def __init__(self, root: Path):
        self.root = root
        self._entries: dict[str, dict[str, list[str]]] = {}

    def find(self, path: str) -> list[str]:
        """Return the paths of files that equal a path but for the composition of their letters.

        Args:
            path: A path below the root, with "/" between the parts, at which there is no file itself.
        """
        if path.isascii():
            return []
        places = [""]
        for part in path.split("/"):
            places = [f"{place}{name}/" for place in places for name in self._named(place, composed(part))]
        return [place[:-1] for place in places if (self.root / place[:-1]).is_file()]

    def _named(self, folder: str, name: str) -> list[str]:
        """Return the entries of a folder with a composed name."""
        if folder not in self._entries:
            entries = self._entries[folder] = {}
            try:
                for entry in sorted(path.name for path in (self.root / folder).iterdir()):
                    entries.setdefault(composed(entry), []).append(entry)
            except OSError:
                pass
        return self._entries[folder].get(name, [])
