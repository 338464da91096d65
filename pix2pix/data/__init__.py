"""Images and label maps: what a data set is, how it is found, read and drawn."""
