"""Face recognition: alignment, networks, adaptation, evaluation, and the functions behind the commands."""
