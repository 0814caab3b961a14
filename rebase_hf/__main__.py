"""`python -m rebase_hf` is `rebase-hf`."""

from rebase_hf.cli import main

main()
