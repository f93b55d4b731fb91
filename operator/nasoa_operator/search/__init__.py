"""NASSearch: observe, plan, status."""
