"""Building one answer from Git, in a process of its own.

Only `job` (the values that cross the process boundary) and `entry` (the fork server) may be imported by the serving
process; everything else here runs in a worker.
"""
