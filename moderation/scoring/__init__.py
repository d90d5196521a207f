"""Image and caption to cosine, with open_clip: where a worker's torch is imported."""
