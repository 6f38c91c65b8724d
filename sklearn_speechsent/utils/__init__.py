"""Small shared tools that know nothing about speech."""
