"""The real-vs-fake study of the paper (Section 4.1): people judge, `python -m eval.study`."""
