"""Webhooks with a purpose, one file each: images, reports, defaults, students, night."""
