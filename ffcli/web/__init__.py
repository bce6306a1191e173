"""The web page of a database: `ff report --html` writes it to a file, `ff serve` keeps it up to date in a browser."""
