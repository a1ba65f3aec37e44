"""How is a release shown to people?"""
