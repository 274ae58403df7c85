@echo off
rem Sets SplitRig up in this folder (once) and opens its window. run.cmd --setup only sets up.
setlocal
set "root=%~dp0"
for %%v in (3.13 3.12 3.11) do (
  py -%%v -c "import sys" >nul 2>nul && (
    py -%%v "%root%packaging\bootstrap.py" run %*
    exit /b
  )
)
python -c "import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))" >nul 2>nul && (
  python "%root%packaging\bootstrap.py" run %*
  exit /b
)
echo SplitRig needs Python 3.11, 3.12 or 3.13; install one from python.org and run this again. 1>&2
exit /b 1
