#!/bin/sh
# acme-certificate.sh check|ensure DIRECTORY ACCOUNTS STATE SERVER NAME [EMAIL]: the certificate of this host for NAME,
# by certbot from the ACME server whose directory is at SERVER (RFC 8555). It asks for NAME by HTTP on port 80.
#
#   DIRECTORY/server.pem  key and certificate, in one file so that they never disagree; its first line says which server
#                         it is from
#   ACCOUNTS              the keys of our accounts at ACME servers, for root alone as all in DIRECTORY
#   STATE/challenges      what the web server has to show below http://NAME/
#   STATE/log, STATE/failure  certbot's log, and the reason why it got nothing; both of the last time
#
# `ensure` gets a new one when it is not for this name or not from this server, and when a third of its time is left,
# as Let's Encrypt recommends. `check` prints what `ensure` would do, but leaves what is due to those who run `ensure`
# from time to time, until half of that third has passed as well. Then both print when the certificate ends.
# certbot gets a request to be signed and never sees the key.
set -eu
umask 077
action=$1 directory=$2 accounts=$3 state=$4 server=$5 name=$6 email=${7-}
pem=$directory/server.pem
mark="from the ACME server $server"
[ "$action" = check ] && share=6 || share=3

when() { date -d "$(openssl x509 -in "$pem" -noout "$1" | cut -d= -f2)" +%s; }

reason() {
  [ -s "$pem" ] || { echo "a certificate for $name is asked for"; return; }
  [ "$(head -n 1 "$pem")" = "$mark" ] || { echo "the certificate is not from $server"; return; }
  openssl x509 -in "$pem" -noout -checkhost "$name" | grep -q "does match" || { echo "the certificate is not for $name"; return; }
  end=$(when -enddate)
  [ $(((end - $(date +%s)) * share)) -gt $((end - $(when -startdate))) ] ||
    { echo "the certificate ends on $(date -u -d "@$end" '+%Y-%m-%d at %H:%M UTC')"; return; }
  [ "$(stat -c '%a %u' "$pem")" = "600 $(id -u)" ] || echo "others may read the key"
}

fail() {
  printf '%s\n' "$server gave no certificate for $name: $1; what was there before stays in use" > "$state/failure"
  cat "$state/failure" >&2
  exit 1
}

# What the server said, which certbot 2.1 keeps for its log ("can't set attribute"); else what certbot itself says.
why() {
  # A nonce that is out of date is no failure: certbot takes a new one.
  said=$(grep -o '"detail": *"\([^"\\]\|\\.\)*"' "$state/log/letsencrypt.log" 2> /dev/null | grep -v nonce | tail -n 1)
  if [ -n "$said" ]; then
    printf '%s\n' "$said" | sed 's/^"detail": *"//;s/"$//;s/\\"/"/g'
  else
    grep -v -e '^Ask for help' -e '^Please see' -e '^Saving debug log' -e '^An unexpected error' "$new/said" |
      grep . | tail -n 1 | sed -e 's/^[A-Za-z_.]*: //' -e 's/.*\[Errno [0-9-]*\] \([A-Za-z ]*\).*/\1/' \
      -e 's/.*certificate verify failed: \([A-Za-z -]*\) (.*/its own certificate is not trusted here: \1/'
  fi
}

get_certificate() {
  install -d -m 755 "$state/challenges"
  rm -rf "$state/log" "$state/failure"
  [ ${#name} -le 64 ] && subject="/CN=$name" || subject=/  # no name is longer than that there (X.520)
  printf '%s\n' '[req]' distinguished_name=name req_extensions=extensions '[name]' '[extensions]' \
    "subjectAltName=DNS:$name" > "$new/configuration"
  openssl ecparam -name prime256v1 -genkey -noout -out "$new/server.key"
  openssl req -new -config "$new/configuration" -key "$new/server.key" -subj "$subject" -out "$new/request"
  [ -n "$email" ] && contact="--email $email --no-eff-email" || contact=--register-unsafely-without-email
  # shellcheck disable=SC2086  # options, and an address without spaces
  timeout -k 30 240 certbot certonly --non-interactive --agree-tos $contact --server "$server" --csr "$new/request" \
    --webroot --webroot-path "$state/challenges" --config-dir "$accounts" --work-dir "$state/work" \
    --logs-dir "$state/log" --max-log-backups 0 --cert-path "$new/server.crt" --chain-path "$new/chain.pem" \
    --fullchain-path "$new/fullchain.pem" > "$new/printed" 2> "$new/said" || {
    code=$?
    [ $code != 124 ] || fail "there was no end of it after four minutes"
    fail "$(why | sed 's/[.]$//')"
  }
  key=$(openssl pkey -in "$new/server.key" -pubout)
  [ "$(openssl x509 -in "$new/fullchain.pem" -noout -pubkey)" = "$key" ] || fail "what came is not for our key"
  { echo "$mark"; cat "$new/server.key" "$new/fullchain.pem"; } > "$new/server.pem"
  mv -f "$new/server.pem" "$pem"
}

if [ "$action" = ensure ] && [ -n "$(reason)" ]; then
  rm -rf "$directory"/.new.*
  new=$(mktemp -d "$directory/.new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  get_certificate
fi
left=$(reason)
[ -z "$left" ] || echo "to do: $left"
[ ! -s "$pem" ] || echo "ends: $(openssl x509 -in "$pem" -noout -enddate | cut -d= -f2)"
[ "$action" = check ] || [ -z "$left" ] || fail "$left"
