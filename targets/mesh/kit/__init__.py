"""What the sample mesh's services share: the application, logs, metrics, clients and protections."""
