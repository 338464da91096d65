"""How the embedded data set draws a street facade; `pix2pix/procedural.py` is its door."""
