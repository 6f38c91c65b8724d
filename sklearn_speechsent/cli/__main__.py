"""``python -m sklearn_speechsent.cli``, where the command is not on the path."""

from sklearn_speechsent.cli.app import main

if __name__ == "__main__":  # processes that it starts import this file too
    main()
