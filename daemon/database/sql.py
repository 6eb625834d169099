"""Names and texts in SQL. Pure."""


def identifier(name: str) -> str:
    """The name as SQL reads it unchanged, in quotes."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """The text as a constant of SQL, with standard_conforming_strings on or off."""
    quoted = text.replace("'", "''").replace("\\", "\\\\")
    return f"e'{quoted}'" if "\\" in text else f"'{quoted}'"
