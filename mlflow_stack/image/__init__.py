"""Container images: the tracking server's, and those of models.

    command.py    python -m mlflow_stack image build, base, push and logins
    build.py      what is built, refused or left as it is
    contents.py   what an image is made of, and the tag that follows from it
    models.py     the model that an image is for: a directory, or one from a tracking server
    base.py       a base image of Debian's packages, where no registry is reached
    buildah.py    Debian's buildah, the only program that makes and reads images

What stands in an image as it is, is in image/ of the repository, and its programs are in mlflow_stack/on_host.
"""
