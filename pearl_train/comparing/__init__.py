"""Models examined on a data set, and objectives side by side."""
