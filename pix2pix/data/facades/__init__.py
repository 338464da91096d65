"""How the embedded data set draws a street facade; `pix2pix/data/procedural.py` is its door."""
