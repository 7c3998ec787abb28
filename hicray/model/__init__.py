"""The dual-encoder network: contact map and DNA in, a finer contact map out."""
