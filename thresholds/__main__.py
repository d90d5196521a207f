"""`python -m thresholds` is `captionguard thresholds`."""

from thresholds.cli import main

main()
