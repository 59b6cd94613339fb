"""A trajectory as other programs write and read it; one module for each form."""
