"""A page to draw label maps on and see them translated, `python -m pix2pix.demo`."""
