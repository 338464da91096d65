"""Markdown, HTML and LaTeX, which format what the analysis found."""
