#!/bin/sh
# Stand-in for a Miniconda installer, for tests: the flags, messages and exit statuses of constructor's header.sh.
# https://github.com/conda/constructor/blob/main/constructor/header.sh
set -eu
unset LD_LIBRARY_PATH LD_PRELOAD CONDARC || true

if ! echo "$0" | grep '\.sh$' > /dev/null; then
    printf 'Please run using "bash"/"dash"/"sh"/"zsh", but not "." or "source".\n' >&2
    exit 1
fi

# Break off or hang in the middle of a step, when a test asks for it (see the stand-in's __init__.py).
fault() {
    if [ "${LAB_CONDA_HANG_AT-}" = "$1" ]; then
        printf 'lab: hanging at %s\n' "$1" >&2
        exec sleep 600
    fi
    if [ "${LAB_CONDA_FAIL_AT-}" = "$1" ]; then
        printf 'lab: failing at %s\n' "$1" >&2
        exit 1
    fi
}

THIS_DIR=$(cd "$(dirname "$0")"; pwd)
THIS_PATH="$THIS_DIR/$(basename "$0")"
PREFIX="${HOME:-/opt}/miniconda3"
BATCH=0
FORCE=0

while getopts "bifhkp:smutc" x; do
    case "$x" in
        h)
            printf 'usage: %s [options]\n\nInstalls @NAME@\n\n' "$0"
            printf -- '-b           run install in batch mode, it is expected the license terms are agreed upon\n'
            printf -- '-f           no error if install prefix already exists\n'
            printf -- '-h           print this help message and exit\n'
            printf -- '-p PREFIX    install prefix, defaults to %s, must not contain spaces.\n' "$PREFIX"
            printf -- '-u           update an existing installation\n'
            exit 2
            ;;
        b) BATCH=1 ;;
        i) BATCH=0 ;;
        p) PREFIX="$OPTARG" ;;
        f|u) FORCE=1 ;;
        k|s|m|t|c) ;;
        ?)
            printf "ERROR: did not recognize option '%s', please try -h\n" "$x"
            exit 1
            ;;
    esac
done

if [ "$BATCH" = 0 ]; then
    printf "Do you accept the license terms? [yes|no]\n>>> "
    read -r answer || answer=no
    if [ "$answer" != yes ]; then
        printf "The license agreement wasn't approved, aborting installation.\n"
        exit 2
    fi
fi

case "$PREFIX" in
    *\ *)
        printf 'ERROR: Cannot install into directories with spaces\n' >&2
        exit 1
        ;;
esac
if [ "$FORCE" = 0 ] && [ -e "$PREFIX" ]; then
    printf "ERROR: File or directory already exists: '%s'\n" "$PREFIX" >&2
    printf 'If you want to update an existing installation, use the -u option.\n' >&2
    exit 1
fi
if ! mkdir -p "$PREFIX"; then
    printf "ERROR: Could not create directory: '%s'.\n" "$PREFIX" >&2
    exit 1
fi
PREFIX=$(cd "$PREFIX"; pwd)
printf 'PREFIX=%s\n' "$PREFIX"

START=$(grep -anm 1 '^@@END_HEADER@@' "$THIS_PATH" | sed 's/:.*//')
START=$((START + 1))
MD5=$(tail -n "+$START" "$THIS_PATH" | md5sum | sed 's/ .*//')
if [ "$MD5" != "@MD5@" ]; then  # a warning only, as in the real installer
    printf 'WARNING: md5sum mismatch of tar archive\nexpected: @MD5@\n     got: %s\n' "$MD5" >&2
fi

# The real one makes the history first too: its presence proves nothing.
mkdir -p "$PREFIX/conda-meta"
touch "$PREFIX/conda-meta/history"

printf 'Unpacking payload...\n'
case "${LAB_CONDA_HANG_AT-}${LAB_CONDA_FAIL_AT-}" in
    *unpack*)
        tail -n "+$START" "$THIS_PATH" | head -c 4000000 | tar -xzf - --no-same-owner -C "$PREFIX" 2> /dev/null || true
        fault unpack
        ;;
esac
if ! tail -n "+$START" "$THIS_PATH" | tar -xzf - --no-same-owner -C "$PREFIX"; then
    printf 'ERROR: could not extract the conda packages\n' >&2
    exit 1
fi

printf '\nInstalling base environment...\n\n'
fault link
place() {  # place SOURCE TARGET MODE: a file of the payload into its place, with the prefix filled in
    mkdir -p "$(dirname "$PREFIX/$2")"
    sed "s|@PREFIX@|$PREFIX|g" "$PREFIX/.installer/$1" > "$PREFIX/$2.new"
    chmod "$3" "$PREFIX/$2.new"
    mv "$PREFIX/$2.new" "$PREFIX/$2"
}
place conda bin/conda 755
place conda condabin/conda 755
place conda.sh etc/profile.d/conda.sh 644
place activate.sh bin/activate 755
place deactivate.sh bin/deactivate 755
place condarc .condarc 644
mkdir -p "$PREFIX/envs" "$PREFIX/pkgs"
rm -rf "$PREFIX/.installer"
printf '==> installed by %s <==\n' '@NAME@' >> "$PREFIX/conda-meta/history"
test -d ~/.conda || mkdir -p ~/.conda
printf 'installation finished.\n'
exit 0
@@END_HEADER@@
