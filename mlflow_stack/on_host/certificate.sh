#!/bin/sh
# certificate.sh check|ensure DIRECTORY AUTHORITY NAME...: the certificate of this host, by a certificate authority of
# its own.
#
#   AUTHORITY             the authority's certificate, which clients trust, for everybody: made once, valid for ten years
#   DIRECTORY/ca.key      its key, for root alone as all in DIRECTORY
#   DIRECTORY/server.pem  key and certificate of the host, in one file so that they never disagree: valid for 90 days,
#                         made anew 30 days before its end, and when it is not for exactly these names
#
# `check` prints what `ensure` would do, and nothing when all is well; then both print the fingerprint of the authority,
# `ensure` also for people ("note: ", mlflow_stack/report.py).
# Every step is made beside and renamed: whoever is interrupted leaves nothing that counts.
set -eu
umask 077
action=$1 directory=$2 authority=$3
shift 3

kind() {
  case $1 in
    *:*) echo IP ;;
    *[!0-9.]*) echo DNS ;;
    *) echo IP ;;
  esac
}

names=$(for name in "$@"; do echo "$(kind "$name"):$name"; done | LC_ALL=C sort -u | paste -sd,)
pem=$directory/server.pem

has_authority() { [ -s "$directory/ca.key" ] && openssl x509 -in "$authority" -noout -checkend 7776000 > /dev/null 2>&1; }

# openssl writes "IP Address:" where it reads "IP:".
present_names() {
  openssl x509 -in "$pem" -noout -ext subjectAltName 2> /dev/null | sed -n '2s/IP Address:/IP:/gp;2s/ //gp' | head -n 1 |
    tr -d ' ' | tr , '\n' | LC_ALL=C sort -u | paste -sd,
}

# Whether it is for these names and no others. openssl compares, since it writes an IPv6 address in a form of its own.
is_for() {
  [ "$(present_names | tr , '\n' | wc -l)" = "$(echo "$names" | tr , '\n' | wc -l)" ] || return 1
  for name in "$@"; do
    [ "$(kind "$name")" = IP ] && option=-checkip || option=-checkhost
    openssl x509 -in "$pem" -noout "$option" "$name" | grep -q "does match" || return 1
  done
}

reason() {
  has_authority || { echo "a certificate authority of this host is made"; return; }
  [ -s "$pem" ] || { echo "a certificate is made for $names"; return; }
  openssl verify -CAfile "$authority" "$pem" > /dev/null 2>&1 || { echo "the certificate is not of this authority, or has ended"; return; }
  openssl x509 -in "$pem" -noout -checkend 2592000 > /dev/null || { echo "the certificate ends within 30 days"; return; }
  is_for "$@" || { echo "the certificate is for $(present_names), expected $names"; return; }
  [ "$(stat -c '%a %u' "$pem" "$directory/ca.key" | sort -u)" = "600 $(id -u)" ] || echo "others may read the keys"
}

make_authority() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$new/ca.key"
  # With a configuration of its own: openssl 1.1 would add the extensions of the distribution's a second time.
  printf '%s\n' '[req]' distinguished_name=name x509_extensions=authority prompt=no '[name]' \
    "CN=MLflow Stack on $(uname -n)" '[authority]' basicConstraints=critical,CA:TRUE,pathlen:0 \
    keyUsage=critical,keyCertSign,cRLSign subjectKeyIdentifier=hash > "$new/authority"
  openssl req -x509 -new -config "$new/authority" -key "$new/ca.key" -sha256 -days 3650 -out "$new/ca.crt"
  rm -f "$authority"  # first: an old one beside a new key would pass for whole
  mv -f "$new/ca.key" "$directory/ca.key"
  # Copied beside its place, which may be on another file system, and then renamed.
  install -m 644 "$new/ca.crt" "$authority.new"
  mv -f "$authority.new" "$authority"
}

make_certificate() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$new/server.key"
  openssl req -new -key "$new/server.key" -subj "/CN=$1" -out "$new/request"
  printf '%s\n' "subjectAltName=$names" basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
    extendedKeyUsage=serverAuth subjectKeyIdentifier=hash authorityKeyIdentifier=keyid > "$new/extensions"
  openssl x509 -req -in "$new/request" -CA "$authority" -CAkey "$directory/ca.key" -sha256 -days 90 \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$new/extensions" -out "$new/server.crt" 2> /dev/null
  cat "$new/server.key" "$new/server.crt" > "$new/server.pem"
  mv -f "$new/server.pem" "$pem"
}

if [ "$action" = ensure ] && [ -n "$(reason "$@")" ]; then
  rm -rf "$directory"/.new.*
  new=$(mktemp -d "$directory/.new.XXXXXX")
  trap 'rm -rf "$new"' EXIT
  has_authority || make_authority
  chmod 600 "$directory/ca.key"
  make_certificate "$@"
fi
why=$(reason "$@")
[ -z "$why" ] || echo "to do: $why"
[ ! -s "$authority" ] || {
  fingerprint=$(openssl x509 -in "$authority" -noout -fingerprint -sha256)
  echo "fingerprint: ${fingerprint#*=}"
  [ "$action" = check ] || echo "note: SHA-256 fingerprint of the certificate authority (/ca.crt): ${fingerprint#*=}"
}
[ "$action" = check ] || [ -z "$why" ] || { echo "$why" >&2; exit 1; }
