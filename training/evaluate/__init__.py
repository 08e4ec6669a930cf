"""How right the networks and the fit are: landmarks, scans (NoW, Stirling), consistency, detail, known codes."""
