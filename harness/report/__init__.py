"""From numbers to what people read: text, Markdown, CSV, JSON, HTML, plots."""
