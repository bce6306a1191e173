"""The results as one page of HTML: a file (`ff report --html`), or live while runs are trained (`ff serve`)."""
