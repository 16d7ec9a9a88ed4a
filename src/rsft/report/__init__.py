"""A run folder as one self-contained HTML page. Reads files only: no stage of the library is imported here."""
