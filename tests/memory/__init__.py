"""A cluster and an S3 in memory, over which the real operator runs as fast as it can think.

They do what the API server and S3 do as far as the operator can tell. Nothing happens in them by itself: a test says
when pods end, and a program of its own says with what.
"""
