"""A campaign of faults against `ff`: processes that are killed, full disks, damaged files, hostile input, crowds.

    python -m tests.faults --seed 7 --scale 1

It is no part of the normal test suite; `nox -s faults` runs it.
"""
