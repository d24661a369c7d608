"""The lab: drives a server that streams agents' answers with many users, checks every event, and gives a verdict.

workload -> runner -> history -> checkers -> verdict -> report. Only the runner does I/O with the target; a checker sees
only the history, live or read back.
"""
