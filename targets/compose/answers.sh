#!/bin/bash
# Does the node in this container answer? `answers http PORT PATH`, `answers valkey PORT`, `answers postgres PORT`.
# Until it has answered once since it was started, this waits for it, so that nobody waits for the next check.
# A shell that starts in 2 ms: with a health check in every container, a Python would be felt in what is measured.
kind=$1 port=$2 path=${3-}
once=${ANSWERED:-/tmp/answered} # in a tmpfs: a node that is started again begins without it

trap '' PIPE # a node that ends in the middle of a question is a no
ask() {
  case $kind in
    http)
      printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "$path" >&3
      read -r -t 2 _ status _ <&3
      [[ $status == 200 ]]
      ;;
    valkey)
      printf 'PING\r\n' >&3
      read -r -t 2 answer <&3
      [[ $answer == +PONG* ]]
      ;;
    postgres) # its first message, and R as the first byte of "you are in"; E while it starts
      printf '\0\0\0\45\0\3\0\0user\0squall\0database\0squall\0\0' >&3
      IFS= read -r -t 2 -N 1 answer <&3
      [[ $answer == R ]]
      ;;
  esac
} 3<>"/dev/tcp/127.0.0.1/$port"

for ((tries = 0; tries < 80; tries++)); do
  if ask 2>/dev/null; then
    : >"$once"
    exit 0
  fi
  [[ -e $once ]] && exit 1
  sleep 0.1
done
exit 1
