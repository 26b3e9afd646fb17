"""`python -m lgnet`."""

from .cli import main

raise SystemExit(main())
