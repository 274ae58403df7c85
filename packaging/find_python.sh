# Sets $python to a Python that SplitRig supports (3.11 to 3.13), or ends with one sentence.
python=
for candidate in python3.13 python3.12 python3.11 python3 python; do
  if command -v "$candidate" >/dev/null 2>&1 &&
    "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "SplitRig needs Python 3.11, 3.12 or 3.13; install one (on Debian and Ubuntu: sudo apt-get install python3 python3-venv) and run this again." >&2
  exit 1
fi
