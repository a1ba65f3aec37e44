"""How does a release get into the formats that other tools read?"""
