"""The command line ``nasoa``, a module for each group of commands."""
