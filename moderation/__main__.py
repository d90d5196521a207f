"""`python -m moderation` is `captionguard`."""

from moderation.cli import main

if __name__ == "__main__":
    main()
