"""FineTuneRequest: observe, plan, status."""
