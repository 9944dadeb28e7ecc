"""What a registrar does about who is who."""
