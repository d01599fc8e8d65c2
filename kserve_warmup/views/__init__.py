"""Results for people: numbers in words, terminal tables, HTML pages."""
