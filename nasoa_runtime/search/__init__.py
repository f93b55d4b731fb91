"""The search: ranking, mutation, proposals and the front. Pure, and free of torch."""
