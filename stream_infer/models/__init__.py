"""Models: a folder or hub id of Hugging Face, a torch module, or any class.

Nothing is imported here: the plugins are loaded wherever a pipeline file is parsed.
"""
