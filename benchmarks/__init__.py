"""What llave is measured with, beside its peers; no part of the installed package. See ``commands``, ``results/``."""
