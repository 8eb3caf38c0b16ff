"""Volumes: folders that are filled or brought, and mounted into containers."""
