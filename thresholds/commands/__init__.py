"""The commands of `captionguard thresholds`, a file each."""
