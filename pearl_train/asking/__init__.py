"""A model that is asked: from wherever it lies, directly or with tools, and whether it is right."""
