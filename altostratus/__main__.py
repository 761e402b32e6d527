"""`python -m altostratus` is the `altostratus` command."""

from altostratus.command import main

main()
