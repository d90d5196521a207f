"""Hard cases by rule: matched pairs become pairs that are wrong, or right, in a known way.

`table.py` lists all kinds; `make.py` runs them: what becomes of a pair is planned first, by
pure rules over text (a file a family), and pictures are edited and written once, afterwards.
The rules read English.
"""
