"""`processes` = N: a parent opens the listeners and runs N daemons as its children. Read parent.py first."""
