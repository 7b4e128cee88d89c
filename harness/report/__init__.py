"""Renders results as text, Markdown, CSV, JSON, HTML and plots."""
