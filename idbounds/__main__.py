"""`python -m idbounds`."""

from idbounds.cli import main

main()
