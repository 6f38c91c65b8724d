"""A package, so that its conftest, which is collected first, does not pass for that of tests/."""
