"""Roles: what ends up on a host, one @deploy each. A role takes the settings and computes nothing."""
