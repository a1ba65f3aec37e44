"""How are files, folders and objects read and written?"""
