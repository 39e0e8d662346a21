"""Seeded faults: each is put into a scratch copy of the project, and the suite has to turn red, at the right place.

    python -m tests.teeth [--quick] [--only NAME,NAME] [--list] [--json PATH]
"""
