"""What runs in a pod: its life, its clock, data, networks, training, and the programs. torch is imported only here."""
