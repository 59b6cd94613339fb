"""One network of any transformers image-text-to-text family, behind one small surface."""
