"""Where the command prints: results to standard output, everything else to standard error."""

from rich.console import Console

output = Console(soft_wrap=True, highlight=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False)
