"""One network of any transformers image-text-to-text family, behind one small surface.

``build`` (load -> our tokens -> LoRA) gives a ``backbone``: rows in, hidden states out, with
``images``, ``masks`` and ``positions`` of packed views; ``frozen_rows`` holds rows still, ``flops``
counts, ``export`` writes a folder that plain transformers loads.
"""
