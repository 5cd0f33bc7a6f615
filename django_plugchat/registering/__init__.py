"""Where is the provider told to call, does it get there, and what was it told last?"""
