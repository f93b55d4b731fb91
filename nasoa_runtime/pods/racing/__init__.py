"""The strategy ``Race``: the best few share one time limit, and weak ones stop early."""
