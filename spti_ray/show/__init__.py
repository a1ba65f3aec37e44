"""What does a run look like in a browser, while it goes and after?"""
