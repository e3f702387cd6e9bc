"""Our tracker behind the interfaces of other toolkits, one file each."""
