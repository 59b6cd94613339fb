"""The ``pearl-data`` command: one file per command, assembled in :mod:`pearl_data.cli.main`."""
