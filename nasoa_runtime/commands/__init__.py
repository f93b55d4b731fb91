"""The commands of ``nasoa``, a module for each group."""
