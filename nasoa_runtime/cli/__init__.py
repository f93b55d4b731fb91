"""The command line ``nasoa``, a module for each group of commands."""

import os

# The predictor's matrices are small: threads would spend their time waiting for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
