"""`decatrack report`: a track as one HTML page, with plots and a contact sheet."""
