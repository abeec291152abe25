"""The sample mesh's services, one module each; `build(kit)` returns the web application."""
