#!/bin/sh
# Install the runtime: four packages, and this one without its dependencies, so without torch.
# Arguments go to pip, such as --target FOLDER. PYTHON is the interpreter.
set -e
here=$(dirname "$0")
"${PYTHON:-python3}" -m pip install --no-cache-dir "$@" -r "$here/runtime-requirements.txt"
"${PYTHON:-python3}" -m pip install --no-cache-dir --no-deps "$@" "$here/.."
