"""``python -m sklearn_speechsent.cli``, where the command is not on the path."""

from sklearn_speechsent.cli.app import main

main()
