"""The API `nasoa.io/v1alpha1`: pydantic models of both kinds, from which the CRDs are generated.

This is the one place where field names are spelled: snake_case here, camelCase in YAML and in the API server.
"""
