"""Looking back: a history replayed, with every executed line and every variable recorded."""
