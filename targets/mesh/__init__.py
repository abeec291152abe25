"""The sample service mesh."""
