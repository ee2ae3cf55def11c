"""Traces from what others recorded, one file for each format, and traces that are made up.

A reader takes rows or lines that the caller has opened, and a label of the file for complaints. A row that cannot be
used is refused with its number (the first row below the header is 1) and its field; `lenient` leaves such rows out and
counts them.
"""
