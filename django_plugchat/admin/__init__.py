"""The screens: one module for each, or for each concern that several have. Importing them registers them."""

from django_plugchat.admin import accounts, events, overview, rejected

__all__ = ["accounts", "events", "overview", "rejected"]
