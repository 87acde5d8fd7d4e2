#!/bin/sh
# fetch URL SHA256 FILE: ensure that FILE holds what URL serves and has the given checksum.
# A file with any other content is deleted, never left for somebody to run.
set -u
url=$1 expected=$2 file=$3 part=$3.part

fail() {
    rm -f "$part"
    echo "$url: $1" >&2
    exit 1
}

sum_of() { sha256sum < "$1" | cut -c1-64; }

if [ -f "$file" ] && [ "$(sum_of "$file")" = "$expected" ]; then
    exit 0
fi
rm -f "$file" "$part"
# --speed-*: give up on a server that stalls for a minute, not on one that is slow.
status=$(curl --silent --show-error --location --retry 3 --retry-delay 2 --connect-timeout 15 --max-time 3600 \
    --speed-limit 1024 --speed-time 60 --output "$part" --write-out '%{http_code}' "$url" 2> "$part.err")
code=$?
message=$(tail -n 1 "$part.err"); rm -f "$part.err"
[ "$code" = 18 ] && fail "the download broke off before its end (curl: ${message#curl: }); run the deploy again"
[ "$code" = 0 ] || fail "can't be downloaded (curl: ${message#curl: }); check the address and the host's network"
[ "$status" = 200 ] || fail "the server answered HTTP $status, expected 200; check the address"
found=$(sum_of "$part")
if [ "$found" != "$expected" ]; then
    hint="the file was deleted and not run; correct the SHA-256 in the settings only if you trust the new file"
    head -c 512 "$part" | grep -qi '<html\|<!doctype' && hint="it is an HTML page (a proxy's error or login page?); check the address"
    fail "its SHA-256 is $found, expected $expected; $hint"
fi
mv -f "$part" "$file"
