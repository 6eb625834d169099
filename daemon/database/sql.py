"""Names in SQL. Pure."""


def identifier(name: str) -> str:
    """The name as SQL reads it unchanged, in quotes."""
    return '"' + name.replace('"', '""') + '"'
