# Sourced by shells (etc/profile.d/conda.sh): the `conda` function, which alone can change the calling shell.
export CONDA_EXE='@PREFIX@/bin/conda'
export CONDA_PYTHON_EXE='@PREFIX@/bin/python'
conda() {
    case "${1-}" in
        activate|deactivate|reactivate)
            # In two steps, so that a failing activation fails: `eval "$(false)"` would succeed.
            __conda_code="$("$CONDA_EXE" shell.posix "$@")" || return
            eval "$__conda_code"
            unset __conda_code
            ;;
        *) "$CONDA_EXE" "$@" ;;
    esac
}
