"""The command line ``pearl-train``: one file per command, assembled in ``main``."""
