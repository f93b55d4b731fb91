"""Networks: built from the names of architectures, given weights, frozen, and counted."""
