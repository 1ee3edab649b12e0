"""Terminal table, CSV, LaTeX, HTML and plots of a comparison."""
