"""What people look at after a run: curves, the model card, tables. Reads the files of the run."""
