"""A trace as a picture: a lane for each side and each thread, as text, SVG, Mermaid or a file to merge."""
