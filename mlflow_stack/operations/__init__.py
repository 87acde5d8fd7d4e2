"""Operations: one resource each, idempotent. Validate, read one fact, compare, say why nothing is to do, or yield."""
