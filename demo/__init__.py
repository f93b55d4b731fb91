"""The whole job on one machine: a small search, a zoo, and fine-tuning requests on real images."""
