#!/bin/sh
# Starts a service of the mesh. Where libfaketime is, it looks once a second for a file that says how wrong the time of
# day is (targets/compose/hurt.py writes it for the fault clock_offset); without the file the time is right.
# It is the library for threads, and FORCE_MONOTONIC_FIX=0 keeps it from ending timed waits at once: with them Python's
# threads take the interpreter from each other without pause, and an answer that needs several takes ten times as long.
for library in /usr/lib/*/faketime/libfaketimeMT.so.1; do
  if [ -e "$library" ]; then
    export LD_PRELOAD="$library" FAKETIME_TIMESTAMP_FILE=/tmp/squall-clock FAKETIME_CACHE_DURATION=0
    export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_DISABLE_SHM=1 FAKETIME_FORCE_MONOTONIC_FIX=0
  fi
done
exec python -m targets.compose.node "$@"
