# Sourced as bin/deactivate.
. '@PREFIX@/etc/profile.d/conda.sh' && conda deactivate
