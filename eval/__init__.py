"""Scores of translated images. Import from the modules (`from eval.color import …`)."""
