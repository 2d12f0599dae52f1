"""Takes measurements of local models and of endpoints; runs on a bare machine with torch and transformers."""
