"""Scored tables -> leaderboards, figures and one-file reports."""
