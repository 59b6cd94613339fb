"""A trajectory as a model sees it: conversations, templates, tokens, pictures, batches."""
