"""Optimisers over all tensors of a group at once; torch's own would import its compiler."""
