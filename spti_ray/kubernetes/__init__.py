"""What is Kubernetes told about a run?"""
