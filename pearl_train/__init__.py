"""Training vision-language models to predict the embedding of what tools would have shown.

One sample's way: ``loader`` (shards to batches) -> ``model`` (one network, any family) ->
``objectives`` (pearl, sft, lvr, tools) -> ``loop`` -> ``checkpoint`` -> ``evaluate`` -> ``report``.
"""
