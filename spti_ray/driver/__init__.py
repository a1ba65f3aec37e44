"""How does one run go, from its checks to its report?"""
