"""Which of our pages' parts may stand on a project's own pages? ``{% load plugchat %}``."""
