"""Reporting, for all rooms of the evaluation.

In: rows, or numbers of them.
Out: means with bootstrap intervals (`bootstrap`), tables as Markdown and CSV (`tables`), what figures share
    (`figures`).
"""
