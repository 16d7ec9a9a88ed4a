"""The report of a run folder as one self-contained HTML page; it reads files only and imports no other stage."""
