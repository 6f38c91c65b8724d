"""Speed and size of the package, next to other packages where they do the same work."""
