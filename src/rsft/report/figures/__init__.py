"""The figures of the pages, one concept a file; each takes plain data and returns a `Drawing`."""
