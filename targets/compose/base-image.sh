#!/bin/bash
# Make the root file system of a base image where no image can be pulled: `base-image.sh FILE.tar`, as root.
# Debian's bookworm with what the public slim Python has, and what the network faults need. FILE appears whole or not
# at all; one that is there is kept. `docker import FILE.tar squall-base:bookworm` makes the image of it.
set -euo pipefail
file=$1
test -s "$file" && exit 0
mkdir -p "$(dirname "$file")"
folder=$(mktemp -d)
trap 'rm -rf "$folder" "$file.part"' EXIT
debootstrap --variant=minbase --include=python3,python3-venv,iptables,iproute2,faketime bookworm "$folder" >&2
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*
tar --create --directory "$folder" --file "$file.part" .
mv "$file.part" "$file"
