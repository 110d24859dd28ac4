#!/bin/sh
# The command `blueprint`; set-up copies it to .venv/bin. It runs the program of the checkout that the .venv is in.
here=$(dirname "$(readlink -f "$0")")
exec "$here/python" "$here/../../workflow/scripts/blueprint_cli.py" "$@"
