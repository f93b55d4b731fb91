"""The operator: reconciles NASSearch and FineTuneRequest objects (observe, plan, apply, status)."""
