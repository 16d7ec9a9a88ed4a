"""`python -m rsft`, which launchers take: `torchrun --nproc-per-node 2 -m rsft embed ...`."""

from rsft.cli.main import run

run()
