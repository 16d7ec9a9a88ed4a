"""What the report needs of the files of a folder, which may come from anybody: declared once, checked when read.

Entries that are not named here are let through. Numbers that are only shown may be anything that a run can write, also
NaN.
"""
