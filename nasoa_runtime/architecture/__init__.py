"""Architectures: their strings, their cost, the spaces they are searched in, and the networks they name."""
