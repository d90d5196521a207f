"""Image and caption to cosine, with open_clip. The only package that imports torch."""
