"""Where and when does the work run?"""
