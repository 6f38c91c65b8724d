"""Speed compared with other packages, and compared with code written by hand."""
