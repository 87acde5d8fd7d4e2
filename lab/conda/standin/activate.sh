# Sourced as bin/activate: `source PREFIX/bin/activate [ENV]`.
. '@PREFIX@/etc/profile.d/conda.sh' && conda activate "$@"
