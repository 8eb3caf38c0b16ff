"""What maintainers run: versions and pins moved on, modules generated anew. Not part of the package."""
