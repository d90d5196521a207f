"""From labels to a calibrated match score: fitting, artifacts, thresholds."""
