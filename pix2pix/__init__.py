"""pix2pix (arXiv 1611.07004): networks, objectives, data, training and translation.

Nothing is imported here, so that `pix2pix.datasets` and `pix2pix.config` stay free of torch.
"""
