"""Reading and writing of runs: inputs, progress, results and the run folder.

The modules that read pictures (`inputs`, `evaluated`, `thumbnails`, `run_files`) are not re-exported: they need OpenCV,
which commands on tables do without.
"""

import lazy_loader

# PyTorch is not imported with the package, so that a command line is checked before it
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
