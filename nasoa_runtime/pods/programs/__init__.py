"""The pods' programs: each module has ``run(document, pod, prefetch, clock)`` and brings torch."""
