"""Personal data: contacts, accounts, national identifiers, with their check digits."""
