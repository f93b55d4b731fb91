"""The operator: reconciles NASSearch and FineTuneRequest objects (observe, plan, apply, status)."""

import os

# The predictor's matrices are small: threads would spend their time waiting for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
