#!/bin/sh
# Makes a cluster in an empty folder, as the usual image of PostgreSQL does, and serves it.
set -eu
data=/var/lib/postgresql/data
if [ ! -s "$data/PG_VERSION" ]; then
  initdb --pgdata "$data" --username "$POSTGRES_USER" --auth trust --no-sync >/dev/null
  echo "host all all all trust" >>"$data/pg_hba.conf"
  postgres --single -D "$data" postgres >/dev/null <<SQL
create database "$POSTGRES_DB";
SQL
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp -c fsync=off
